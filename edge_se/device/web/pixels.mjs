// What a model takes of pixels of its size: `tensor` of edge_se/device/agent/preprocess.py, to the bit.

const RANGES = {"0-1": [0, 1], "0-255": [0, 255], "-1-1": [-1, 1]};
const LUMA = [19595, 38470, 7471]; // ITU-R 601, as Pillow rounds it

/** Uint8Array of (images, channels, height, width) and how they are seen -> {values, shape, dtype}. */
export function tensor(pixels, [images, channels, height, width], how) {
  const wanted = how.colour === "grey" ? 1 : 3, size = height * width;
  const shape = how.axes === "NCHW" ? [images, wanted, height, width] : [images, height, width, wanted];
  const values = new (how.dtype === "uint8" ? Uint8Array : Float32Array)(images * wanted * size);
  const seen = how.dtype === "uint8" ? () => pixel => pixel : channel => scaled(how, channel);
  const step = how.axes === "NCHW" ? 1 : wanted;
  for (let channel = 0; channel < wanted; channel++) {
    const see = seen(channel), read = reader(pixels, channels, size, how.colour, channel);
    for (let image = 0; image < images; image++) {
      let place = image * wanted * size + channel * (step === 1 ? size : 1);
      for (let spot = 0; spot < size; spot++, place += step) values[place] = see(read(image * channels * size + spot));
    }
  }
  return {values, shape, dtype: how.dtype === "uint8" ? "|u1" : "<f4"};
}

/** A function of the place of a pixel in its image's first channel: the value of the channel that a model sees. */
function reader(pixels, channels, size, colour, channel) {
  if (colour === "grey" && channels === 3)
    return place => LUMA.reduce((sum, weight, one) => sum + weight * pixels[place + one * size], 0x8000) >> 16;
  const from = channels === 1 ? 0 : colour === "BGR" ? 2 - channel : channel;
  return place => pixels[place + from * size];
}

/** Moved to the range, minus the mean, over the deviation: one product and one sum in float32. */
function scaled(how, channel) {
  const [low, high] = RANGES[how.range];
  const scale = Math.fround((high - low) / (255 * how.std[channel]));
  const shift = Math.fround((low - how.mean[channel]) / how.std[channel]);
  return pixel => Math.fround(Math.fround(pixel * scale) + shift);
}
