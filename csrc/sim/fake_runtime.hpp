// The controls of the fake CUDA runtime, called from Python through ctypes: faults, counts, memory, capture and replay.
//
// It stands behind csrc/runtime_calls.cpp in the simulator's extension. Every call that may fail is numbered; a fault
// is asked for by number. What it cannot show is what a driver really does: when an asynchronous error surfaces, what a
// capture forbids beyond the calls named here, contexts lost and made anew, and several threads at once (its state has
// no lock). A launch runs to its end before it returns.
#pragma once

#include <cstddef>

#define ATROUS_FAKE_CONTROL extern "C" __attribute__((visibility("default")))

// Forgets everything but live memory and the limits of functions; from now on there are this many devices.
ATROUS_FAKE_CONTROL void atrous_fake_reset(int devices);

// The n-th numbered call from now gives `error`. later: it gives success, does nothing, and every call after it gives
// `error` until a reset, as after a fault inside a kernel.
ATROUS_FAKE_CONTROL void atrous_fake_fail(long n, int error, int later);

ATROUS_FAKE_CONTROL long atrous_fake_calls();                 // numbered calls since the reset
ATROUS_FAKE_CONTROL const char* atrous_fake_call(long n);     // the name of the n-th of them, from 1; "" beyond
ATROUS_FAKE_CONTROL int atrous_fake_left_error();             // what cudaPeekAtLastError would give
ATROUS_FAKE_CONTROL const char* atrous_fake_failure();        // what the machine said of the last kernel that failed
ATROUS_FAKE_CONTROL const char* atrous_fake_name(int error);  // "cudaErrorNoDevice"

// A numbered call of a library on top of the runtime, made by its stand-in. unsafe: a capture forbids it.
ATROUS_FAKE_CONTROL int atrous_fake_enter(const char* name, int unsafe);

// Device memory between red zones. Freeing neither fails nor is numbered.
ATROUS_FAKE_CONTROL int atrous_fake_allocate(void** pointer, std::size_t bytes);
ATROUS_FAKE_CONTROL void atrous_fake_free(void* pointer);
ATROUS_FAKE_CONTROL std::size_t atrous_fake_live_bytes();
ATROUS_FAKE_CONTROL long atrous_fake_damaged();  // allocations, live and freed since the reset, written past their ends

ATROUS_FAKE_CONTROL int atrous_fake_get_device(int* device);
ATROUS_FAKE_CONTROL int atrous_fake_set_device(int device);
ATROUS_FAKE_CONTROL int atrous_fake_synchronize(void* stream);

// A launch by name, as a module that was compiled at run time makes it.
ATROUS_FAKE_CONTROL int atrous_fake_launch(const char* name, const unsigned* shape, std::size_t shared_bytes,
                                           void* stream, const void* parameters, std::size_t parameter_bytes);
ATROUS_FAKE_CONTROL int atrous_fake_allow_shared(const char* name, int bytes);

ATROUS_FAKE_CONTROL int atrous_fake_begin_capture(void* stream);
ATROUS_FAKE_CONTROL int atrous_fake_end_capture(void* stream, int* graph);
ATROUS_FAKE_CONTROL int atrous_fake_replay(int graph);
ATROUS_FAKE_CONTROL int atrous_fake_graph_launches(int graph);
