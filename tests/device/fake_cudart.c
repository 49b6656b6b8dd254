/* CUDA's runtime as the agent calls it, on the host's memory: what was captured, launched and timed is counted.
   An event is the number of calls so far, and a call takes a microsecond, so every time is known. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int now, launches, devices = 1, refuse_capture, live, shared;

int fake_launches(void) { return launches; }
int fake_live(void) { return live; }
void fake_set(int count, int refuse) { devices = count; refuse_capture = refuse; }
void fake_share(int memory) { shared = memory; }

const char *cudaGetErrorString(int code) { return code == 900 ? "operation not permitted when stream is capturing" : "out of memory"; }
int cudaGetDeviceCount(int *count) { *count = devices; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 12060; return 0; }
int cudaDeviceGetAttribute(int *value, int key, int device) { *value = key == 75 ? 8 : key == 76 ? 7 : key == 16 ? 8 : key == 18 ? shared : -1; return device; }
int cudaGetDeviceProperties(char *properties, int device) { strcpy(properties, "Orin"); return device; }
int cudaMemGetInfo(size_t *free_, size_t *total) { *free_ = 3000000000u; *total = 8000000000u; return 0; }
static int make(void **handle, size_t size) {
  if (size > 1000000000u) return 2;
  *handle = calloc(1, size); live++;
  return 0;
}
static int drop(void *handle) { free(handle); live--; return 0; }
int cudaMalloc(void **handle, size_t size) { return make(handle, size); }
int cudaFree(void *handle) { return drop(handle); }
int cudaMallocHost(void **handle, size_t size) { return make(handle, size); }
int cudaFreeHost(void *handle) { return drop(handle); }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { now++; memcpy(to, from, size); return stream == 0; }
int cudaStreamCreate(void **stream) { return make(stream, 8); }
int cudaStreamSynchronize(void *stream) { return stream == 0; }
int cudaStreamDestroy(void *stream) { return drop(stream); }
int cudaStreamBeginCapture(void *stream, int mode) { return refuse_capture ? 900 : mode != 1; }
int cudaStreamEndCapture(void *stream, void **graph) { return refuse_capture ? 900 : make(graph, 8); }
int cudaGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) { return flags || make(exec, 8); }
int cudaGraphLaunch(void *exec, void *stream) { now += 5; launches++; return exec == 0; }
int cudaGraphExecDestroy(void *exec) { return drop(exec); }
int cudaGraphDestroy(void *graph) { return drop(graph); }
int cudaEventCreate(void **event) { return make(event, sizeof(int)); }
int cudaEventRecord(void *event, void *stream) { *(int *)event = now; return stream == 0; }
int cudaEventSynchronize(void *event) { return event == 0; }
int cudaEventDestroy(void *event) { return drop(event); }
int cudaEventElapsedTime(float *milliseconds, void *first, void *second) { *milliseconds = 0.001f * (*(int *)second - *(int *)first); return 0; }
