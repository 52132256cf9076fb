// The context switch: x86-64 assembler, or ucontext, with AddressSanitizer told of every stack.
#include "context.hpp"

#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace atrous::sim {

#if defined(__SANITIZE_ADDRESS__)

static void announce_switch(Context& from, const Context& to) {
  __sanitizer_start_switch_fiber(&from.sanitizer_stack, to.stack.low, to.stack.bytes);
}
static void announce_arrival(void* sanitizer_stack) {
  __sanitizer_finish_switch_fiber(sanitizer_stack, nullptr, nullptr);
}
static void forget_frames(Stack stack) { __asan_unpoison_memory_region(stack.low, stack.bytes); }

void adopt_own_stack(Context& context) {
  pthread_attr_t attributes;
  void* low = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &low, &context.stack.bytes);
  pthread_attr_destroy(&attributes);
  context.stack.low = static_cast<unsigned char*>(low);
}

#else

static void announce_switch(Context&, const Context&) {}
static void announce_arrival(void*) {}
static void forget_frames(Stack) {}

void adopt_own_stack(Context&) {}

#endif

void enter_context() { announce_arrival(nullptr); }

#ifdef ATROUS_SIM_ASSEMBLER

const char* const kContextKind = "x86-64";

extern "C" void atrous_sim_switch(void** save_stack_pointer, void* load_stack_pointer);
extern "C" void atrous_sim_start();

// Only what the System V ABI lets a callee expect back is saved; kernels leave the floating-point modes alone.
asm(R"(
.text
.p2align 4
.globl atrous_sim_switch
.hidden atrous_sim_switch
.type atrous_sim_switch, @function
atrous_sim_switch:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size atrous_sim_switch, .-atrous_sim_switch

.p2align 4
.globl atrous_sim_start
.hidden atrous_sim_start
.type atrous_sim_start, @function
atrous_sim_start:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  call *%r13
  ud2
  .cfi_endproc
.size atrous_sim_start, .-atrous_sim_start
)");

void prepare_context(Context& context, Stack stack, ContextEntry entry, void* argument) {
  forget_frames(stack);
  context.stack = stack;
  const std::uintptr_t top = (reinterpret_cast<std::uintptr_t>(stack.low) + stack.bytes) & ~std::uintptr_t{15};
  // The words atrous_sim_switch pops: r15, r14, r13, r12, rbx, rbp, return address. The stack is 16-byte aligned after
  // it.
  const std::uintptr_t words[7] = {0,
                                   0,
                                   reinterpret_cast<std::uintptr_t>(entry),
                                   reinterpret_cast<std::uintptr_t>(argument),
                                   0,
                                   0,
                                   reinterpret_cast<std::uintptr_t>(&atrous_sim_start)};
  context.stack_pointer = reinterpret_cast<void*>(top - sizeof words);
  std::memcpy(context.stack_pointer, words, sizeof words);
}

void switch_context(Context& from, Context& to) {
  announce_switch(from, to);
  atrous_sim_switch(&from.stack_pointer, to.stack_pointer);
  announce_arrival(from.sanitizer_stack);
}

#else

const char* const kContextKind = "ucontext";

// makecontext passes ints only: two pointers travel in four halves.
static void start_context(unsigned entry_high, unsigned entry_low, unsigned argument_high, unsigned argument_low) {
  const auto join = [](unsigned high, unsigned low) {
    return static_cast<std::uintptr_t>(static_cast<std::uint64_t>(high) << 32 | low);
  };
  reinterpret_cast<ContextEntry>(join(entry_high, entry_low))(
      reinterpret_cast<void*>(join(argument_high, argument_low)));
}

void prepare_context(Context& context, Stack stack, ContextEntry entry, void* argument) {
  forget_frames(stack);
  context.stack = stack;
  getcontext(&context.machine_state);
  context.machine_state.uc_stack.ss_sp = stack.low;
  context.machine_state.uc_stack.ss_size = stack.bytes;
  context.machine_state.uc_link = nullptr;
  const std::uint64_t entry_bits = reinterpret_cast<std::uintptr_t>(entry);
  const std::uint64_t argument_bits = reinterpret_cast<std::uintptr_t>(argument);
  makecontext(&context.machine_state, reinterpret_cast<void (*)()>(&start_context), 4,
              static_cast<unsigned>(entry_bits >> 32), static_cast<unsigned>(entry_bits),
              static_cast<unsigned>(argument_bits >> 32), static_cast<unsigned>(argument_bits));
}

void switch_context(Context& from, Context& to) {
  announce_switch(from, to);
  swapcontext(&from.machine_state, &to.machine_state);
  announce_arrival(from.sanitizer_stack);
}

#endif

}  // namespace atrous::sim
