#include "common/secagg/ring_mask.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/numeric/ring_codec.h"

namespace fedgraft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "keystream bytes are read as little-endian words");

// Keystream at a time: stays in the first-level cache. At every word width a
// whole number of words.
constexpr size_t kPieceBytes = 7680;

template <typename Word>
void Combine(MaskSign sign, const uint8_t* mask, uint8_t* packed,
             size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word word, term;
    std::memcpy(&word, packed + i * sizeof(Word), sizeof(Word));
    std::memcpy(&term, mask + i * sizeof(Word), sizeof(Word));
    word =
        static_cast<Word>(sign == MaskSign::kAdd ? word + term : word - term);
    std::memcpy(packed + i * sizeof(Word), &word, sizeof(Word));
  }
}

template <typename Word>
void Widen(MaskSign sign, const uint8_t* mask, uint64_t* words, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Word term;
    std::memcpy(&term, mask + i * sizeof(Word), sizeof(Word));
    words[i] = sign == MaskSign::kAdd ? words[i] + term : words[i] - term;
  }
}

// Words that are no machine words: by way of words of 64 bits.
void CombineOdd(MaskSign sign, int word_bits, ByteSpan mask,
                absl::Span<uint8_t> packed, size_t count) {
  std::vector<uint64_t> words(count), terms(count);
  UnpackWords(word_bits, packed, absl::MakeSpan(words));
  UnpackWords(word_bits, mask, absl::MakeSpan(terms));
  for (size_t i = 0; i < count; ++i) {
    words[i] =
        sign == MaskSign::kAdd ? words[i] + terms[i] : words[i] - terms[i];
  }
  PackWords(word_bits, words, packed);  // keeps the low bits of each
}

void CombinePiece(MaskSign sign, int word_bits, ByteSpan mask,
                  absl::Span<uint8_t> packed, size_t count) {
  switch (word_bits) {
    case 8:
      return Combine<uint8_t>(sign, mask.data(), packed.data(), count);
    case 16:
      return Combine<uint16_t>(sign, mask.data(), packed.data(), count);
    case 32:
      return Combine<uint32_t>(sign, mask.data(), packed.data(), count);
    case 64:
      return Combine<uint64_t>(sign, mask.data(), packed.data(), count);
    default:
      return CombineOdd(sign, word_bits, mask, packed, count);
  }
}

void WidenPiece(MaskSign sign, int word_bits, ByteSpan mask,
                absl::Span<uint64_t> words) {
  switch (word_bits) {
    case 8:
      return Widen<uint8_t>(sign, mask.data(), words.data(), words.size());
    case 16:
      return Widen<uint16_t>(sign, mask.data(), words.data(), words.size());
    case 32:
      return Widen<uint32_t>(sign, mask.data(), words.data(), words.size());
    case 64:
      return Widen<uint64_t>(sign, mask.data(), words.data(), words.size());
    default: {
      std::vector<uint64_t> terms(words.size());
      UnpackWords(word_bits, mask, absl::MakeSpan(terms));
      Widen<uint64_t>(sign, reinterpret_cast<const uint8_t*>(terms.data()),
                      words.data(), words.size());
    }
  }
}

// Calls `apply(mask bytes, first word of the piece, words in it)` for pieces of
// the keystream that together cover `count` words.
template <typename ApplyPiece>
void ForEachPiece(const MaskStream& stream, int word_bits, uint64_t first_word,
                  uint64_t count, ApplyPiece apply) {
  FG_CHECK(IsWordWidth(word_bits));
  const uint64_t bits = static_cast<uint64_t>(word_bits);
  FG_CHECK(first_word * bits % 8 == 0);
  MaskStream::Reader reader(stream, first_word * bits / 8);
  const uint64_t piece_words = kPieceBytes * 8 / bits;
  std::array<uint8_t, kPieceBytes> piece;
  for (uint64_t begin = 0; begin < count; begin += piece_words) {
    const uint64_t words = std::min(piece_words, count - begin);
    const auto mask =
        absl::MakeSpan(piece).subspan(0, PackedBytes(word_bits, words));
    reader.Read(mask);
    // As PackWords leaves the bits after the last word.
    if (const uint64_t used = words * bits % 8; used != 0) {
      mask.back() &= static_cast<uint8_t>((1u << used) - 1);
    }
    apply(mask, begin, words);
  }
}

}  // namespace

absl::StatusOr<RingMask> RingMask::Derive(ByteSpan secret,
                                          const Bytes& context) {
  Bytes words = context, weight = context;
  words.push_back(0);
  weight.push_back(1);
  FG_ASSIGN_OR_RETURN(MaskStream word_stream,
                      MaskStream::Derive(secret, words));
  FG_ASSIGN_OR_RETURN(MaskStream weight_stream,
                      MaskStream::Derive(secret, weight));
  return RingMask(std::move(word_stream), std::move(weight_stream));
}

absl::StatusOr<RingMask> RingMask::OfPair(const X25519Key& own,
                                          ByteSpan other_key,
                                          const SecureTranscript& transcript,
                                          const SiteId& a, const SiteId& b) {
  FG_ASSIGN_OR_RETURN(const SecretBytes secret, own.SharedSecret(other_key));
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/pair-mask/1")
      .Raw(transcript.session.bytes)
      .Raw(transcript.keys.bytes)
      .Sized(std::min(a, b).value)
      .Sized(std::max(a, b).value);
  return Derive(secret.span(), writer.bytes());
}

absl::StatusOr<RingMask> RingMask::OfSelf(ByteSpan seed,
                                          const SecureTranscript& transcript,
                                          const SiteId& site) {
  ByteWriter writer;
  writer.Sized("fedgraft/secagg/self-mask/1")
      .Raw(transcript.session.bytes)
      .Raw(transcript.keys.bytes)
      .Sized(site.value);
  return Derive(seed, writer.bytes());
}

void RingMask::ApplyPacked(MaskSign sign, int word_bits, uint64_t first_word,
                           uint64_t count, absl::Span<uint8_t> packed) const {
  FG_CHECK(packed.size() == PackedBytes(word_bits, count));
  ForEachPiece(words_, word_bits, first_word, count,
               [&](ByteSpan mask, uint64_t begin, uint64_t words) {
                 CombinePiece(sign, word_bits, mask,
                              packed.subspan(
                                  begin * static_cast<uint64_t>(word_bits) / 8,
                                  mask.size()),
                              words);
               });
}

void RingMask::Apply(MaskSign sign, int word_bits, uint64_t first_word,
                     absl::Span<uint64_t> words) const {
  ForEachPiece(words_, word_bits, first_word, words.size(),
               [&](ByteSpan mask, uint64_t begin, uint64_t count) {
                 WidenPiece(sign, word_bits, mask, words.subspan(begin, count));
               });
}

uint64_t RingMask::ApplyToWeight(MaskSign sign, uint64_t weight_word) const {
  uint64_t term = 0;
  MaskStream::Reader(weight_, 0)
      .Read({reinterpret_cast<uint8_t*>(&term), sizeof(term)});
  return sign == MaskSign::kAdd ? weight_word + term : weight_word - term;
}

}  // namespace fedgraft
