// Lists of accumulator registers for the asm of wgmma, and one macro that goes through its sizes; device code only.
#pragma once

#ifndef ATROUS_SIMULATED

// "%t0, %t1, ..." for the first registers of a ten
#define ATROUS_NAMES_2(t) "%" #t "0, %" #t "1"
#define ATROUS_NAMES_4(t) ATROUS_NAMES_2(t) ", %" #t "2, %" #t "3"
#define ATROUS_NAMES_6(t) ATROUS_NAMES_4(t) ", %" #t "4, %" #t "5"
#define ATROUS_NAMES_8(t) ATROUS_NAMES_6(t) ", %" #t "6, %" #t "7"
#define ATROUS_NAMES_10(t) ATROUS_NAMES_8(t) ", %" #t "8, %" #t "9"
#define ATROUS_NAMES_20() ATROUS_NAMES_10() ", " ATROUS_NAMES_10(1)
#define ATROUS_NAMES_40() ATROUS_NAMES_20() ", " ATROUS_NAMES_10(2) ", " ATROUS_NAMES_10(3)
#define ATROUS_NAMES_80() \
  ATROUS_NAMES_40() ", " ATROUS_NAMES_10(4) ", " ATROUS_NAMES_10(5) ", " ATROUS_NAMES_10(6) ", " ATROUS_NAMES_10(7)
#define ATROUS_NAMES_120() \
  ATROUS_NAMES_80() ", " ATROUS_NAMES_10(8) ", " ATROUS_NAMES_10(9) ", " ATROUS_NAMES_10(10) ", " ATROUS_NAMES_10(11)

// The operands d[i], d[i + 1], ... of constraint `letter`, read and written
#define ATROUS_SUMS_4(letter, i) \
  "+" letter(d[i]), "+" letter(d[(i) + 1]), "+" letter(d[(i) + 2]), "+" letter(d[(i) + 3])
#define ATROUS_SUMS_8(letter, i) ATROUS_SUMS_4(letter, i), ATROUS_SUMS_4(letter, (i) + 4)
#define ATROUS_SUMS_16(letter, i) ATROUS_SUMS_8(letter, i), ATROUS_SUMS_8(letter, (i) + 8)
#define ATROUS_SUMS_32(letter, i) ATROUS_SUMS_16(letter, i), ATROUS_SUMS_16(letter, (i) + 16)
#define ATROUS_SUMS_64(letter, i) ATROUS_SUMS_32(letter, i), ATROUS_SUMS_32(letter, (i) + 32)

// By N: the names and the operands of its N / 2 sums
#define ATROUS_WGMMA_NAMES_8 ATROUS_NAMES_4()
#define ATROUS_WGMMA_NAMES_16 ATROUS_NAMES_8()
#define ATROUS_WGMMA_NAMES_24 ATROUS_NAMES_10() ", " ATROUS_NAMES_2(1)
#define ATROUS_WGMMA_NAMES_32 ATROUS_NAMES_10() ", " ATROUS_NAMES_6(1)
#define ATROUS_WGMMA_NAMES_48 ATROUS_NAMES_20() ", " ATROUS_NAMES_4(2)
#define ATROUS_WGMMA_NAMES_64 ATROUS_NAMES_20() ", " ATROUS_NAMES_10(2) ", " ATROUS_NAMES_2(3)
#define ATROUS_WGMMA_NAMES_80 ATROUS_NAMES_40()
#define ATROUS_WGMMA_NAMES_96 ATROUS_NAMES_40() ", " ATROUS_NAMES_8(4)
#define ATROUS_WGMMA_NAMES_112 ATROUS_NAMES_40() ", " ATROUS_NAMES_10(4) ", " ATROUS_NAMES_6(5)
#define ATROUS_WGMMA_NAMES_128 ATROUS_NAMES_40() ", " ATROUS_NAMES_10(4) ", " ATROUS_NAMES_10(5) ", " ATROUS_NAMES_4(6)
#define ATROUS_WGMMA_NAMES_144 \
  ATROUS_NAMES_40() ", " ATROUS_NAMES_10(4) ", " ATROUS_NAMES_10(5) ", " ATROUS_NAMES_10(6) ", " ATROUS_NAMES_2(7)
#define ATROUS_WGMMA_NAMES_160 ATROUS_NAMES_80()
#define ATROUS_WGMMA_NAMES_176 ATROUS_NAMES_80() ", " ATROUS_NAMES_8(8)
#define ATROUS_WGMMA_NAMES_192 ATROUS_NAMES_80() ", " ATROUS_NAMES_10(8) ", " ATROUS_NAMES_6(9)
#define ATROUS_WGMMA_NAMES_208 ATROUS_NAMES_80() ", " ATROUS_NAMES_10(8) ", " ATROUS_NAMES_10(9) ", " ATROUS_NAMES_4(10)
#define ATROUS_WGMMA_NAMES_224 \
  ATROUS_NAMES_80() ", " ATROUS_NAMES_10(8) ", " ATROUS_NAMES_10(9) ", " ATROUS_NAMES_10(10) ", " ATROUS_NAMES_2(11)
#define ATROUS_WGMMA_NAMES_240 ATROUS_NAMES_120()
#define ATROUS_WGMMA_NAMES_256 ATROUS_NAMES_120() ", " ATROUS_NAMES_8(12)
#define ATROUS_WGMMA_SUMS_8(letter) ATROUS_SUMS_4(letter, 0)
#define ATROUS_WGMMA_SUMS_16(letter) ATROUS_SUMS_8(letter, 0)
#define ATROUS_WGMMA_SUMS_24(letter) ATROUS_SUMS_8(letter, 0), ATROUS_SUMS_4(letter, 8)
#define ATROUS_WGMMA_SUMS_32(letter) ATROUS_SUMS_16(letter, 0)
#define ATROUS_WGMMA_SUMS_48(letter) ATROUS_SUMS_16(letter, 0), ATROUS_SUMS_8(letter, 16)
#define ATROUS_WGMMA_SUMS_64(letter) ATROUS_SUMS_32(letter, 0)
#define ATROUS_WGMMA_SUMS_80(letter) ATROUS_SUMS_32(letter, 0), ATROUS_SUMS_8(letter, 32)
#define ATROUS_WGMMA_SUMS_96(letter) ATROUS_SUMS_32(letter, 0), ATROUS_SUMS_16(letter, 32)
#define ATROUS_WGMMA_SUMS_112(letter) ATROUS_SUMS_32(letter, 0), ATROUS_SUMS_16(letter, 32), ATROUS_SUMS_8(letter, 48)
#define ATROUS_WGMMA_SUMS_128(letter) ATROUS_SUMS_64(letter, 0)
#define ATROUS_WGMMA_SUMS_144(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_8(letter, 64)
#define ATROUS_WGMMA_SUMS_160(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_16(letter, 64)
#define ATROUS_WGMMA_SUMS_176(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_16(letter, 64), ATROUS_SUMS_8(letter, 80)
#define ATROUS_WGMMA_SUMS_192(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_32(letter, 64)
#define ATROUS_WGMMA_SUMS_208(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_32(letter, 64), ATROUS_SUMS_8(letter, 96)
#define ATROUS_WGMMA_SUMS_224(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_32(letter, 64), ATROUS_SUMS_16(letter, 96)
#define ATROUS_WGMMA_SUMS_240(letter) \
  ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_32(letter, 64), ATROUS_SUMS_16(letter, 96), ATROUS_SUMS_8(letter, 112)
#define ATROUS_WGMMA_SUMS_256(letter) ATROUS_SUMS_64(letter, 0), ATROUS_SUMS_64(letter, 64)

// form(N, seven names of the operands after the sums, ...) for every N
#define ATROUS_WGMMA_SIZES(form, ...)                                                                             \
  form(8, 4, 5, 6, 7, 8, 9, 10, __VA_ARGS__) form(16, 8, 9, 10, 11, 12, 13, 14, __VA_ARGS__)                      \
      form(24, 12, 13, 14, 15, 16, 17, 18, __VA_ARGS__) form(32, 16, 17, 18, 19, 20, 21, 22, __VA_ARGS__)         \
          form(48, 24, 25, 26, 27, 28, 29, 30, __VA_ARGS__) form(64, 32, 33, 34, 35, 36, 37, 38, __VA_ARGS__)     \
              form(80, 40, 41, 42, 43, 44, 45, 46, __VA_ARGS__) form(96, 48, 49, 50, 51, 52, 53, 54, __VA_ARGS__) \
                  form(112, 56, 57, 58, 59, 60, 61, 62, __VA_ARGS__)                                              \
                      form(128, 64, 65, 66, 67, 68, 69, 70, __VA_ARGS__)                                          \
                          form(144, 72, 73, 74, 75, 76, 77, 78, __VA_ARGS__)                                      \
                              form(160, 80, 81, 82, 83, 84, 85, 86, __VA_ARGS__)                                  \
                                  form(176, 88, 89, 90, 91, 92, 93, 94, __VA_ARGS__)                              \
                                      form(192, 96, 97, 98, 99, 100, 101, 102, __VA_ARGS__)                       \
                                          form(208, 104, 105, 106, 107, 108, 109, 110, __VA_ARGS__)               \
                                              form(224, 112, 113, 114, 115, 116, 117, 118, __VA_ARGS__)           \
                                                  form(240, 120, 121, 122, 123, 124, 125, 126, __VA_ARGS__)       \
                                                      form(256, 128, 129, 130, 131, 132, 133, 134, __VA_ARGS__)

#endif
