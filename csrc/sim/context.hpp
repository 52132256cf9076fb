// Suspended flows of control on stacks of their own, and the switch between them.
#pragma once

#include <cstddef>

// Hand-written for x86-64 System V; ucontext elsewhere, or where ATROUS_SIM_UCONTEXT asks for it.
#if defined(__x86_64__) && !defined(_WIN32) && !defined(ATROUS_SIM_UCONTEXT)
#define ATROUS_SIM_ASSEMBLER
#else
#include <ucontext.h>
#endif

namespace atrous::sim {

struct Stack {
  unsigned char* low = nullptr;
  std::size_t bytes = 0;
};

struct Context {
  Stack stack;
  void* sanitizer_stack = nullptr;  // what AddressSanitizer remembers of a suspended flow
#ifdef ATROUS_SIM_ASSEMBLER
  void* stack_pointer = nullptr;
#else
  ucontext_t machine_state;
#endif
};

using ContextEntry = void (*)(void* argument);

extern const char* const kContextKind;  // "x86-64" or "ucontext"

// Makes `context` call entry(argument) on `stack` when it is first switched to; entry never returns. Whatever was
// suspended on that stack is dropped.
void prepare_context(Context& context, Stack stack, ContextEntry entry, void* argument);

// Tells `context` the stack of the calling operating-system thread.
void adopt_own_stack(Context& context);

// Suspends the running flow into `from` and resumes `to`.
void switch_context(Context& from, Context& to);

// The first thing that an entry calls.
void enter_context();

}  // namespace atrous::sim
