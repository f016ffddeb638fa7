#include <fiber/http/hashes.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace fiber::http {
namespace {

// The first 64 bits of the fractions of cube roots of primes; SHA-256 uses the upper halves.
constexpr std::uint64_t cube_roots[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};
// The first 64 bits of the fractions of square roots of primes.
constexpr std::uint64_t square_roots[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
// The first 32 bits of the absolute values of sines (RFC 1321).
constexpr std::uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};

template <class Word, bool big>
Word load(const unsigned char* bytes) {
  Word word = 0;
  for (std::size_t i = 0; i < sizeof(Word); ++i)
    word |= static_cast<Word>(bytes[i]) << 8 * (big ? sizeof(Word) - 1 - i : i);
  return word;
}

struct Md5 {
  using Word = std::uint32_t;
  static constexpr bool big = false;
  static constexpr std::size_t block = 64;
  std::array<Word, 4> state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

  void add(const unsigned char* bytes) {
    static constexpr int turns[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    auto [a, b, c, d] = state;
    for (unsigned i = 0; i < 64; ++i) {
      const unsigned round = i / 16;
      const Word mix = round == 0   ? (b & c) | (~b & d)
                       : round == 1 ? (d & b) | (~d & c)
                       : round == 2 ? b ^ c ^ d
                                    : c ^ (b | ~d);
      const unsigned word = round == 0   ? i
                            : round == 1 ? (5 * i + 1) % 16
                            : round == 2 ? (3 * i + 5) % 16
                                         : 7 * i % 16;
      const Word sum = a + mix + sines[i] + load<Word, big>(bytes + 4 * word);
      a = d;
      d = c;
      c = b;
      b += std::rotl(sum, turns[round][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
  }
};

struct Sha1 {
  using Word = std::uint32_t;
  static constexpr bool big = true;
  static constexpr std::size_t block = 64;
  std::array<Word, 5> state{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};

  void add(const unsigned char* bytes) {
    Word w[80];
    for (std::size_t i = 0; i < 80; ++i)
      w[i] = i < 16 ? load<Word, big>(bytes + 4 * i)
                    : std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = state;
    for (std::size_t i = 0; i < 80; ++i) {
      const Word mix = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                       : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                       : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                : (b ^ c ^ d) + 0xca62c1d6;
      const Word next = std::rotl(a, 5) + mix + e + w[i];
      e = d;
      d = c;
      c = std::rotl(b, 30);
      b = a;
      a = next;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
  }
};

template <class W>
struct Sha2 {
  using Word = W;
  static constexpr bool big = true;
  static constexpr bool wide = sizeof(Word) == 8;
  static constexpr std::size_t block = 16 * sizeof(Word), rounds = wide ? 80 : 64;
  std::array<Word, 8> state{};

  Sha2() {
    for (std::size_t i = 0; i < 8; ++i) state[i] = upper(square_roots[i]);
  }
  static Word upper(std::uint64_t bits) { return static_cast<Word>(wide ? bits : bits >> 32); }
  static Word turned(Word x, int a, int b, int c) {
    return std::rotr(x, a) ^ std::rotr(x, b) ^ std::rotr(x, c);
  }
  static Word shifted(Word x, int a, int b, int c) {
    return static_cast<Word>(std::rotr(x, a) ^ std::rotr(x, b) ^ (x >> c));
  }

  void add(const unsigned char* bytes) {
    Word w[rounds];
    for (std::size_t i = 0; i < rounds; ++i)
      w[i] = i < 16 ? load<Word, big>(bytes + sizeof(Word) * i)
                    : static_cast<Word>(
                          w[i - 16] + w[i - 7] +
                          (wide ? shifted(w[i - 15], 1, 8, 7) : shifted(w[i - 15], 7, 18, 3)) +
                          (wide ? shifted(w[i - 2], 19, 61, 6) : shifted(w[i - 2], 17, 19, 10)));
    auto [a, b, c, d, e, f, g, h] = state;
    for (std::size_t i = 0; i < rounds; ++i) {
      const Word one = static_cast<Word>(h + (wide ? turned(e, 14, 18, 41) : turned(e, 6, 11, 25)) +
                                         ((e & f) ^ (~e & g)) + upper(cube_roots[i]) + w[i]);
      const Word two = static_cast<Word>((wide ? turned(a, 28, 34, 39) : turned(a, 2, 13, 22)) +
                                         ((a & b) ^ (a & c) ^ (b & c)));
      h = g;
      g = f;
      f = e;
      e = static_cast<Word>(d + one);
      d = c;
      c = b;
      b = a;
      a = static_cast<Word>(one + two);
    }
    const Word sums[] = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i) state[i] = static_cast<Word>(state[i] + sums[i]);
  }
};

template <class Function>
std::string digest_of(std::string_view bytes) {
  using Word = typename Function::Word;
  constexpr std::size_t block = Function::block, length_size = 2 * sizeof(Word);
  Function function;
  // The bytes after the last whole block, a one bit, zeros, and the length in bits.
  std::string rest(bytes.substr(bytes.size() / block * block));
  rest += '\x80';
  while (rest.size() % block != block - length_size) rest += '\0';
  const std::uint64_t bits = std::uint64_t{bytes.size()} * 8;
  for (std::size_t i = 0; i < length_size; ++i) {
    const std::size_t byte = Function::big ? length_size - 1 - i : i;
    rest += byte < 8 ? static_cast<char>(bits >> 8 * byte) : '\0';
  }
  const auto add = [&](std::string_view whole) {
    for (std::size_t at = 0; at + block <= whole.size(); at += block)
      function.add(reinterpret_cast<const unsigned char*>(whole.data()) + at);
  };
  add(bytes.substr(0, bytes.size() / block * block));
  add(rest);
  std::string text;
  for (const Word word : function.state)
    for (std::size_t i = 0; i < sizeof(Word); ++i)
      text += static_cast<char>(word >> 8 * (Function::big ? sizeof(Word) - 1 - i : i) & 0xFF);
  return text;
}

}  // namespace

std::string digest(Hash hash, std::string_view bytes) {
  switch (hash) {
    case Hash::md5: return digest_of<Md5>(bytes);
    case Hash::sha1: return digest_of<Sha1>(bytes);
    case Hash::sha256: return digest_of<Sha2<std::uint32_t>>(bytes);
    case Hash::sha512: break;
  }
  return digest_of<Sha2<std::uint64_t>>(bytes);
}

std::string hexdigest(Hash hash, std::string_view bytes) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest(hash, bytes)) (text += hex[byte >> 4]) += hex[byte & 15];
  return text;
}

}  // namespace fiber::http
