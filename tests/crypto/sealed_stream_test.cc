#include "common/crypto/sealed_stream.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/crypto/sha256.h"
#include "gtest/gtest.h"
#include "tests/crypto/crypto_test_util.h"

namespace fedgraft {
namespace {

constexpr size_t kK = kSealedChunkBytes;

Bytes Pattern(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  }
  return bytes;
}

Bytes Ascending(uint8_t from) {
  Bytes bytes(32);
  for (int i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(from + i);
  return bytes;
}

class SealedStreamTest : public ::testing::Test {
 protected:
  Bytes Seal(ByteSpan plaintext, uint64_t head_bytes) {
    ScriptedRandom random(Ascending(0));
    Bytes sealed;
    const absl::Status status =
        SealStream(pair_->public_key, AsBytes("info"), AsBytes("context"),
                   head_bytes, plaintext, random, [&](ByteSpan part) {
                     sealed.insert(sealed.end(), part.begin(), part.end());
                     return absl::OkStatus();
                   });
    EXPECT_TRUE(status.ok()) << status;
    return sealed;
  }

  // Opens every chunk in its place.
  absl::StatusOr<Bytes> Open(ByteSpan sealed, SealedStreamShape shape,
                             std::string_view info = "info",
                             std::string_view context = "context") {
    auto opener = SealedStreamOpener::Create(
        sealed.subspan(0, 32), pair_->private_key.span(), AsBytes(info),
        AsBytes(context), shape);
    if (!opener.ok()) return opener.status();
    Bytes plain(shape.total_bytes);
    for (uint64_t i = 0; i < shape.ChunkCount(); ++i) {
      const auto part =
          sealed.subspan(shape.SealedOffset(i), shape.SealedSize(i));
      const absl::Status status =
          opener->Open(i, part,
                       absl::MakeSpan(plain).subspan(shape.PlainOffset(i),
                                                     shape.PlainSize(i)));
      if (!status.ok()) return status;
    }
    return plain;
  }

  absl::StatusOr<HpkeKeyPair> pair_ = HpkeKeyPairFromPrivate(Ascending(32));
};

TEST_F(SealedStreamTest, AgreesWithTheFormatComposedInPython) {
  const Bytes sealed = Seal(Pattern(5 + 2 * kK + 3), 5);
  EXPECT_EQ(sealed.size(), 245864u);
  EXPECT_EQ(Sha256(sealed).Hex(),
            "a83dc22c7914f884e9b8b8f40073045277666a9ef31f0decf4766bd17dc56a92");
}

TEST_F(SealedStreamTest, EveryShapeRoundTripsAndHasTheStatedSize) {
  const std::tuple<uint64_t, uint64_t, uint64_t> shapes[] = {
      // head, total, chunks
      {1, 1, 1},           {64, 64, 1},
      {64, 65, 2},         {64, 64 + kK, 2},
      {64, 65 + kK, 3},    {1, 1 + 3 * kK, 4},
      {2 * kK, 2 * kK, 1}, {2 * kK, 2 * kK + 9, 2}};
  for (const auto& [head, total, chunks] : shapes) {
    SCOPED_TRACE(std::to_string(head) + " of " + std::to_string(total));
    const SealedStreamShape shape{head, total};
    EXPECT_EQ(shape.ChunkCount(), chunks);
    const Bytes plain = Pattern(total);
    const Bytes sealed = Seal(plain, head);
    EXPECT_EQ(sealed.size(), shape.SealedTotal());
    const auto opened = Open(sealed, shape);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_EQ(*opened, plain);
  }
}

TEST_F(SealedStreamTest, CutReorderExtendFlipAndOtherContextAreDataLoss) {
  const SealedStreamShape shape{16, 16 + 2 * kK + 8};
  const Bytes sealed = Seal(Pattern(shape.total_bytes), shape.head_bytes);
  const auto swapped = [&] {
    Bytes bytes = sealed;
    std::swap_ranges(bytes.begin() + shape.SealedOffset(1),
                     bytes.begin() + shape.SealedOffset(2),
                     bytes.begin() + shape.SealedOffset(2));
    return bytes;
  };
  const auto flipped = [&](size_t at) {
    Bytes bytes = sealed;
    bytes[at] ^= 0x10;
    return bytes;
  };
  Bytes longer = sealed;
  longer.resize(longer.size() + 24);
  const struct {
    const char* attack;
    Bytes bytes;
    SealedStreamShape shape;
    std::string info, context;
  } cases[] = {
      {"cut at a chunk", sealed, {16, 16 + 2 * kK}, "info", "context"},
      {"cut inside a chunk", sealed, {16, 16 + 2 * kK + 1}, "info", "context"},
      {"extended inside", longer, {16, 16 + 2 * kK + 9}, "info", "context"},
      {"extended by a chunk", longer, {16, 16 + 3 * kK}, "info", "context"},
      {"chunks swapped", swapped(), shape, "info", "context"},
      {"flip in enc", flipped(3), shape, "info", "context"},
      {"flip in the head", flipped(33), shape, "info", "context"},
      {"flip in a tag", flipped(sealed.size() - 1), shape, "info", "context"},
      {"other context", sealed, shape, "info", "kontext"},
      {"longer context", sealed, shape, "info", "context "},
      {"other info", sealed, shape, "Info", "context"},
      {"other head", sealed, {24, 16 + 2 * kK + 8}, "info", "context"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.attack);
    Bytes bytes = test.bytes;
    bytes.resize(std::max<size_t>(bytes.size(), test.shape.SealedTotal()));
    EXPECT_EQ(Open(bytes, test.shape, test.info, test.context).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST_F(SealedStreamTest, OpenerChecksSizesAndShape) {
  const SealedStreamShape shape{8, 16};
  const Bytes sealed = Seal(Pattern(16), 8);
  const auto create = [&](SealedStreamShape other) {
    return SealedStreamOpener::Create(
        ByteSpan(sealed).subspan(0, 32), pair_->private_key.span(),
        AsBytes("info"), AsBytes("context"), other);
  };
  const auto opener = create(shape);
  ASSERT_TRUE(opener.ok());
  Bytes out(8);
  const ByteSpan chunk0 = ByteSpan(sealed).subspan(32, 24);
  EXPECT_TRUE(opener->Open(0, chunk0, absl::MakeSpan(out)).ok());
  EXPECT_EQ(opener->Open(1, chunk0, absl::MakeSpan(out)).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(opener->Open(0, chunk0.subspan(1), absl::MakeSpan(out)).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(opener->Open(2, chunk0, absl::MakeSpan(out)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(opener->Open(0, chunk0, absl::MakeSpan(out).subspan(1)).code(),
            absl::StatusCode::kInvalidArgument);
  for (SealedStreamShape bad :
       {SealedStreamShape{0, 8}, SealedStreamShape{9, 8},
        SealedStreamShape{8, UINT64_MAX}}) {
    EXPECT_EQ(create(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(SealedStreamTest, OpensOnlyWithTheAlgorithmItWasSealedWith) {
  const SealedStreamShape shape{16, 16 + kK + 8};
  const Bytes plain = Pattern(shape.total_bytes);
  const std::pair<AeadAlgorithm, AeadAlgorithm> pairs[] = {
      {AeadAlgorithm::kChaCha20Poly1305, AeadAlgorithm::kAes256Gcm},
      {AeadAlgorithm::kAes256Gcm, AeadAlgorithm::kChaCha20Poly1305}};
  for (const auto& [own, other] : pairs) {
    ScriptedRandom random(Ascending(0));
    Bytes sealed;
    ASSERT_TRUE(SealStream({.recipient_public_key = pair_->public_key,
                            .info = AsBytes("info"),
                            .context = AsBytes("context"),
                            .head_bytes = shape.head_bytes,
                            .algorithm = own},
                           plain, random,
                           [&](ByteSpan part) {
                             sealed.insert(sealed.end(), part.begin(),
                                           part.end());
                             return absl::OkStatus();
                           })
                    .ok());
    EXPECT_EQ(sealed.size(), shape.SealedTotal());
    const auto open = [&](AeadAlgorithm algorithm, Bytes& out) {
      const auto opener = SealedStreamOpener::Create(
          ByteSpan(sealed).subspan(0, 32), pair_->private_key.span(),
          AsBytes("info"), AsBytes("context"), shape, algorithm);
      EXPECT_TRUE(opener.ok());
      out.assign(shape.PlainSize(1), 0xff);
      return opener
          ->Open(1,
                 ByteSpan(sealed).subspan(shape.SealedOffset(1),
                                          shape.SealedSize(1)),
                 absl::MakeSpan(out))
          .code();
    };
    Bytes out;
    EXPECT_EQ(open(own, out), absl::StatusCode::kOk);
    EXPECT_EQ(ByteSpan(out), ByteSpan(plain).subspan(16, kK));
    EXPECT_EQ(open(other, out), absl::StatusCode::kDataLoss);
    EXPECT_EQ(out, Bytes(kK, 0));
  }
}

// Digests by Python's hashlib of enc and tags, cut out of the pattern.
TEST(SealedStreamDigestTest, IsOfEncAndTagsWhateverPiecesComeIn) {
  const std::tuple<uint64_t, size_t, std::string> streams[] = {
      {72, 123056,
       "30546de0d1d500ac4b668939d22d003520243e949762cc80981c3b905f325dab"},
      {72, 245912,
       "45206d639adeec8f2e0479e645526415701401f1a34c6a86a51ad8ce7b918f45"},
      {1, 122948,  // three bytes too many: no stream has this size
       "39517e3799822d1a30d94df2d7cc491121b53aed130a7eb74baa1dc25846a2e1"},
      {5, 32,
       "2dfd602a7a260b7a12905fd2ebd4b9acf49eed561758b9cb89cbccee389ae02d"},
      {5, 20,
       "e9d7589f94fb2e2608a4535804ad1361316cc7c02e13c8d6a297142ada611bcc"}};
  for (const auto& [head, size, expected] : streams) {
    const Bytes sealed = Pattern(size);
    EXPECT_EQ(DigestOfSealed(head, sealed).Hex(), expected);
    for (const size_t piece : {size_t{1}, size_t{17}, kK + 16, size}) {
      SealedStreamDigest digest(head, size);
      for (size_t at = 0; at < size; at += piece) {
        digest.Update(ByteSpan(sealed).subspan(at, std::min(piece, size - at)));
      }
      EXPECT_EQ(digest.Finish().Hex(), expected) << piece;
    }
  }
}

// Either the name changes or the stream does not open.
TEST_F(SealedStreamTest, NoByteChangesUnderTheSameName) {
  const SealedStreamShape shape{16, 16 + kK + 8};
  const Bytes sealed = Seal(Pattern(shape.total_bytes), shape.head_bytes);
  const Digest name = DigestOfSealed(shape.head_bytes, sealed);
  int same_name = 0;
  for (size_t at = 0; at < sealed.size(); at += at < 80 ? 1 : 1009) {
    Bytes changed = sealed;
    changed[at] ^= 0x20;
    if (DigestOfSealed(shape.head_bytes, changed) != name) continue;
    ++same_name;
    EXPECT_EQ(Open(changed, shape).status().code(), absl::StatusCode::kDataLoss)
        << at;
  }
  EXPECT_GT(same_name, 100);
}

TEST_F(SealedStreamTest, OpensInPlace) {
  const SealedStreamShape shape{16, 16 + kK};
  const Bytes plain = Pattern(shape.total_bytes);
  const Bytes sealed = Seal(plain, shape.head_bytes);
  const auto opener = SealedStreamOpener::Create(
      ByteSpan(sealed).subspan(0, 32), pair_->private_key.span(),
      AsBytes("info"), AsBytes("context"), shape);
  ASSERT_TRUE(opener.ok());
  Bytes chunk = ToBytes(ByteSpan(sealed).subspan(shape.SealedOffset(1)));
  ASSERT_TRUE(
      opener->Open(1, chunk, absl::MakeSpan(chunk).subspan(0, kK)).ok());
  EXPECT_EQ(ByteSpan(chunk).first(kK), ByteSpan(plain).subspan(16));
}

TEST_F(SealedStreamTest, StopsAtTheSinksFirstError) {
  int calls = 0;
  const absl::Status status =
      SealStream(pair_->public_key, {}, {}, 8, Pattern(8 + 3 * kK),
                 [&](ByteSpan) -> absl::Status {
                   if (++calls == 3) return absl::UnavailableError("gone");
                   return absl::OkStatus();
                 });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(calls, 3);
}

TEST_F(SealedStreamTest, TwoStreamsOfOnePlaintextDiffer) {
  Bytes first, second;
  for (Bytes* sealed : {&first, &second}) {
    ASSERT_TRUE(SealStream(pair_->public_key, {}, {}, 8, Pattern(64),
                           [&](ByteSpan part) {
                             sealed->insert(sealed->end(), part.begin(),
                                            part.end());
                             return absl::OkStatus();
                           })
                    .ok());
  }
  EXPECT_NE(first, second);
}

// Sealing in chunks must cost little more than the AEAD itself; a factor of
// two leaves room for a busy machine. Best of five of each.

}  // namespace
}  // namespace fedgraft
