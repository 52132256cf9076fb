// What conv_depthwise_large has in shared memory, and how planes of x and filters in bands get there.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/large_arguments.hpp"
#include "atrous/layout.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kOctet = 8;                       // neighbouring columns: 16 bytes of a plane's row
constexpr int kMostOctets = 5;                  // that hold the windows of 8 columns: 31 + 7 columns
constexpr int kRowTile = 16;                    // output rows of a product
constexpr int kTilePixels = kRowTile * kOctet;  // its outputs
constexpr int kNeighbourChannels = 4;           // outputs of a pixel that a thread finishes
constexpr int kLargeThreads = 512;              // 16 warps, a channel each
constexpr int kLargeZeros = 384;                // bytes: seven octets, and then eleven of a row, rounded up to 128
constexpr unsigned kSignBits = 0x80008000u;     // of two halves

// The bits of an exponent, and its lowest one, in both halves of a word.
template <class T>
struct ExponentBits;
template <>
struct ExponentBits<float16> {
  static constexpr unsigned kAll = 0x7c007c00u, kLowest = 0x04000400u;
};
template <>
struct ExponentBits<bfloat16> {
  static constexpr unsigned kAll = 0x7f807f80u, kLowest = 0x00800080u;
};

// Two elements of 16 bits -> the sign bit of each that is infinite or NaN: only an exponent of ones carries into it.
template <class T>
__device__ __forceinline__ unsigned special_halves(unsigned word) {
  return ((word & ExponentBits<T>::kAll) + ExponentBits<T>::kLowest) & kSignBits;
}

// A strip of output rows of some images, a group of tiles of 8 output columns, and the rows and octets of x that their
// windows hold: none where they lie wholly in padding. Octet number i begins at column 8 * i - pad_left - shift.
struct LargeItem {
  int first_image, images;
  int first_p, rows;
  int first_tile, tiles;
  int first_h, bands;
  int first_octet, octets;

  __device__ __forceinline__ LargeItem(const LargeArguments& a, unsigned index) {
    const ConvArguments& conv = a.conv;
    const unsigned rest = index / a.column_groups, group = index - rest * a.column_groups;
    const unsigned image_group = rest / a.strips, strip = rest - image_group * a.strips;
    first_image = image_group * a.images;
    images = min(a.images, conv.n - first_image);
    first_p = strip * a.strip_rows;
    rows = min(a.strip_rows, conv.p - first_p);
    first_tile = group * a.group_tiles;
    tiles = min(a.group_tiles, ceil_divide(conv.q, kOctet) - first_tile);
    const int begin = first_p - conv.pad_top;
    first_h = max(begin, 0);
    bands = max(min(begin + rows + conv.r - 1, conv.h) - first_h, 0);
    first_octet = max(first_tile, a.first_octet);
    octets = max(min(first_tile + tiles + a.octets - 1, a.end_octet) - first_octet, 0);
  }

  __device__ __forceinline__ int row_tiles() const { return ceil_divide(images * rows, kRowTile); }
};

// What a block has in dynamic shared memory: kLargeZeros bytes of zeros, the planes, and what follows.
struct LargeShared {
  int channels;
  int band_words;      // of a channel: a zero octet, and R rows, or one more, of a.octets octets
  int exchange_pitch;  // 4 channels on, the banks of the next 8 or 16 pixels
  int band_at, exchange_at;

  __device__ __forceinline__ explicit LargeShared(const LargeArguments& a) : channels(a.channels) {
    band_words = (1 + (a.conv.r + 1) / 2 * 2 * a.octets) * (kOctet / 2);
    exchange_pitch = kTilePixels + 32 / channels;
    band_at = kLargeZeros + a.images * a.image_pieces * 16;
    exchange_at = band_at + (channels * band_words + kOctet / 2) * static_cast<int>(sizeof(unsigned));
  }

  __device__ __forceinline__ unsigned char* base() const { return prims::dynamic_shared(); }
  // [channels][band_words], and a zero octet
  __device__ __forceinline__ unsigned* band() const { return reinterpret_cast<unsigned*>(base() + band_at); }
  // [channels][exchange_pitch] of slot 0 or 1
  __device__ __forceinline__ float32* exchange(int slot) const {
    return reinterpret_cast<float32*>(base() + exchange_at) + slot * channels * exchange_pitch;
  }
  __device__ __forceinline__ float32* scale() const { return exchange(2); }        // [channels]
  __device__ __forceinline__ float32* bias() const { return scale() + channels; }  // [channels]
  // [warps], of which there are as many as channels
  __device__ __forceinline__ int* x_special() const { return reinterpret_cast<int*>(bias() + channels); }
  __device__ __forceinline__ int* weight_special() const { return x_special() + channels; }
  // Slot 0 or 1: what all threads would else keep in registers while they hold sums.
  __device__ __forceinline__ LargeItem* item(int slot) const {
    return reinterpret_cast<LargeItem*>(weight_special() + channels) + slot;
  }
};

// Pieces of 16 bytes from a slab's first plane of an image to another: 4 empty ones between two times 8 planes put what
// the two halves of a pixel are stored to on different banks.
__device__ __forceinline__ int plane_place(const LargeArguments& a, int channel) {
  return channel * a.plane_pieces + channel / 8 * 4;
}

// A warp's word of what its lanes met, and what all warps met, a barrier later.
__device__ __forceinline__ void tell(int* words, bool met) {
  const unsigned lanes = prims::ballot(met);
  if (prims::lane_id() == 0) words[threadIdx.x / 32] = lanes != 0;
}
__device__ __forceinline__ bool has_met(const int* words, int warps) {
  int met = 0;
  for (int warp = 0; warp < warps; ++warp) met |= words[warp];
  return met != 0;
}

// Planes of x on their way into shared memory: a thread takes 8 columns of 8 channels, and turns them.
template <class T>
struct PlaneLoader {
  const LargeArguments& a;
  unsigned char* planes;
  int first_channel;
  bool whole;  // x comes in pieces of 8 channels

  __device__ __forceinline__ PlaneLoader(const LargeArguments& a, const LargeShared& shared, int first_channel)
      : a(a), planes(shared.base() + kLargeZeros), first_channel(first_channel) {
    const ConvArguments& conv = a.conv;
    whole = is_aligned(conv.x, 16) && conv.x_stride[3] == 1 && conv.c % 8 == 0 && conv.x_stride[0] % 8 == 0 &&
            conv.x_stride[1] % 8 == 0 && conv.x_stride[2] % 8 == 0;
  }

  // Returns whether the thread met an element that is not finite: the planes have 0 in its place. Neighbouring threads
  // take the halves of a pixel's 16 channels, then neighbouring octets.
  __device__ __forceinline__ bool stage(const LargeItem& item) const {
    const int halves = a.channels / 8, pieces = item.images * item.bands * a.row_pieces * halves;
    unsigned met = 0;
#pragma unroll 1
    for (int index = threadIdx.x; index < pieces; index += blockDim.x) {
      const int half = index % halves, piece = index / halves, row = piece / a.row_pieces;
      const int octet = piece - row * a.row_pieces, image = row / item.bands, band = row - image * item.bands;
      const int channel = first_channel + half * 8;
      if (octet >= item.octets || channel >= a.conv.c) continue;
      unsigned cell[kOctet][4];  // of 8 columns their 8 channels
      load(item, image, band, octet, channel, cell);
      unsigned found = 0;
#pragma unroll
      for (int i = 0; i < 4 * kOctet; ++i) found |= special_halves<T>(cell[i / 4][i % 4]);
      if (found != 0) clear_specials(cell);
      met |= found;
      const int place = image * a.image_pieces + plane_place(a, half * 8) + band * a.row_pieces + octet;
      store_turned(reinterpret_cast<unsigned*>(planes + 16 * place), cell);
    }
    return met != 0;
  }

  __device__ __forceinline__ void load(const LargeItem& item, int image, int band, int octet, int channel,
                                       unsigned (&cell)[kOctet][4]) const {
    const ConvArguments& conv = a.conv;
    const int64 n = item.first_image + image, h = item.first_h + band;
    const unsigned short* x = static_cast<const unsigned short*>(conv.x);  // [N, H, W, C] by x_stride
    const unsigned short* row = x + n * conv.x_stride[0] + h * conv.x_stride[1] + channel * conv.x_stride[3];
    const int first_w = (item.first_octet + octet) * kOctet - conv.pad_left - a.shift;
#pragma unroll
    for (int i = 0; i < kOctet; ++i) {
      const bool is_real = static_cast<unsigned>(first_w + i) < static_cast<unsigned>(conv.w);
      const unsigned short* source = row + (first_w + i) * conv.x_stride[2];
      Vec<unsigned, 4> piece = {};
      if (is_real && whole) {
        piece = load_vec<4>(reinterpret_cast<const unsigned*>(source));
      } else if (is_real) {
#pragma unroll
        for (int next = 0; next < 8; ++next) {
          if (channel + next < conv.c)
            piece.value[next / 2] |= static_cast<unsigned>(source[next * conv.x_stride[3]]) << next % 2 * 16;
        }
      }
#pragma unroll
      for (int word = 0; word < 4; ++word) cell[i][word] = piece.value[word];
    }
  }

  __device__ __forceinline__ static void clear_specials(unsigned (&cell)[kOctet][4]) {
#pragma unroll
    for (int i = 0; i < 4 * kOctet; ++i) {
      unsigned& word = cell[i / 4][i % 4];
      word &= ~((special_halves<T>(word) >> 15) * 0xffffu);
    }
  }

  // target: the octet's words in the first of 8 planes
  __device__ __forceinline__ void store_turned(unsigned* target, const unsigned (&cell)[kOctet][4]) const {
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      Vec<unsigned, 4> even, odd;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const unsigned first = cell[2 * i][word], second = cell[2 * i + 1][word];
        even.value[i] = (first & 0xffffu) | second << 16;
        odd.value[i] = first >> 16 | (second & 0xffff0000u);
      }
      store_vec(target + 2 * word * a.plane_pieces * 4, even);
      store_vec(target + (2 * word + 1) * a.plane_pieces * 4, odd);
    }
  }
};

// The filters of a slab on their way into bands: tap s of a row lies at element shift + s, between zeros.
template <class T>
struct FilterLoader {
  const LargeArguments& a;
  unsigned short* band;
  int band_elements, first_k, count;

  __device__ __forceinline__ FilterLoader(const LargeArguments& a, const LargeShared& shared, int first_k)
      : a(a),
        band(reinterpret_cast<unsigned short*>(shared.band())),
        band_elements(2 * shared.band_words),
        first_k(first_k),
        count(min(a.channels, a.conv.k - first_k)) {}

  __device__ __forceinline__ unsigned put(int channel, int r, int s, unsigned short bits) const {
    band[channel * band_elements + kOctet + r * a.octets * kOctet + a.shift + s] = bits;
    return special_halves<T>(bits);
  }

  // Returns whether the thread met a weight that is not finite.
  __device__ __forceinline__ bool load() const {
    const ConvArguments& conv = a.conv;
    const unsigned short* weight = static_cast<const unsigned short*>(conv.weight);  // [K, R, S, 1] by weight_stride
    weight += first_k * conv.weight_stride[0];
    const bool is_run = conv.weight_stride[2] == 1 && conv.weight_stride[1] == conv.s &&
                        conv.weight_stride[0] == static_cast<int64>(conv.r) * conv.s && is_aligned(weight, 16);
    return is_run ? load_run(weight) : load_elements(weight);
  }

  // weight: [count, R, S] without a gap
  __device__ __forceinline__ bool load_run(const unsigned short* weight) const {
    const Digits sizes = {0, a.conv.r, a.conv.s};
    const int total = count * sizes.middle * sizes.fast;
    unsigned met = 0;
#pragma unroll 1
    for (int first = 8 * threadIdx.x; first < total; first += 8 * blockDim.x) {
      Vec<unsigned short, 8> piece = {};
      if (first + 8 <= total) {
        piece = load_vec<8>(weight + first);
      } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          if (first + i < total) piece.value[i] = weight[first + i];
        }
      }
      Digits tap = to_digits(first, sizes);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        if (first + i < total) met |= put(tap.slow, tap.middle, tap.fast, piece.value[i]);
        advance(tap, Digits{0, 0, 1}, sizes);
      }
    }
    return met != 0;
  }

  // Threads run along what is contiguous in the weights: taps, or channels.
  __device__ __forceinline__ bool load_elements(const unsigned short* weight) const {
    const ConvArguments& conv = a.conv;
    const int taps = conv.r * conv.s;
    const bool along_channels = conv.weight_stride[0] == 1;
    const int run = along_channels ? count : taps;
    unsigned met = 0;
#pragma unroll 1
    for (int element = threadIdx.x; element < taps * count; element += blockDim.x) {
      const int slow = element / run, fast = element - slow * run;
      const int tap = along_channels ? slow : fast, channel = along_channels ? fast : slow;
      const int r = tap / conv.s, s = tap - r * conv.s;
      met |= put(channel, r, s,
                 weight[channel * conv.weight_stride[0] + r * conv.weight_stride[1] + s * conv.weight_stride[2]]);
    }
    return met != 0;
  }
};

// Clears what stays zero: the octets before everything, and the bands, of which taps take their places.
__device__ __forceinline__ void clear_bands(const LargeArguments& a, const LargeShared& shared) {
  const Vec<unsigned, 4> zeros = {};
  unsigned* first = reinterpret_cast<unsigned*>(shared.base());
  for (int piece = threadIdx.x; piece < kLargeZeros / 16; piece += blockDim.x) store_vec(first + 4 * piece, zeros);
  const int words = a.channels * shared.band_words + kOctet / 2;
  for (int word = 4 * threadIdx.x; word < words; word += 4 * blockDim.x) store_vec(shared.band() + word, zeros);
}

// Fetches the terms of a slab.
__device__ __forceinline__ void load_terms(const LargeArguments& a, const LargeShared& shared, int first_k) {
  const ConvArguments& conv = a.conv;
  const int channel = threadIdx.x, k = first_k + channel;
  if (channel >= a.channels) return;
  const auto term = [&](const void* terms, int type) {
    return k < conv.k ? load_real<float32>(terms, static_cast<DataType>(type), k) : 0.0f;
  };
  if (conv.scale != nullptr) shared.scale()[channel] = term(conv.scale, conv.epilogue.scale_type);
  if (conv.bias != nullptr) shared.bias()[channel] = term(conv.bias, conv.epilogue.bias_type);
}

// The sum of one output straight from memory, the zeros of padding among its terms; returns whether x or weight holds
// anything that is not finite under its window.
template <class T>
__device__ __forceinline__ bool sum_specials(const ConvArguments& conv, int n, int p, int q, int k, float32& sum) {
  const T* x = static_cast<const T*>(conv.x);            // [N, H, W, C] by x_stride
  const T* weight = static_cast<const T*>(conv.weight);  // [K, R, S, 1] by weight_stride
  x += n * conv.x_stride[0] + k * conv.x_stride[3];
  weight += k * conv.weight_stride[0];
  bool is_special = false;
  sum = 0.0f;
#pragma unroll 1
  for (int r = 0; r < conv.r; ++r) {
    const int h = p - conv.pad_top + r;
    const bool has_row = static_cast<unsigned>(h) < static_cast<unsigned>(conv.h);
#pragma unroll 1
    for (int s = 0; s < conv.s; ++s) {
      const int w = q - conv.pad_left + s;
      const bool is_real = has_row && static_cast<unsigned>(w) < static_cast<unsigned>(conv.w);
      const float32 cell = is_real ? to_accumulator(x[h * conv.x_stride[1] + w * conv.x_stride[2]]) : 0.0f;
      const float32 tap = to_accumulator(weight[r * conv.weight_stride[1] + s * conv.weight_stride[2]]);
      sum += cell * tap;
      is_special |= !(cell - cell == 0.0f) || !(tap - tap == 0.0f);  // infinity less itself is NaN
    }
  }
  return is_special;
}

}  // namespace atrous
