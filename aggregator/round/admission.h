#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/round/coordinator.h"
#include "aggregator/round/run_key.h"
#include "aggregator/round/run_state.h"
#include "aggregator/store/reduce.h"
#include "common/config/plan.h"
#include "common/crypto/sealed_stream.h"
#include "common/model/parameter_layout.h"
#include "common/numeric/ring_codec.h"
#include "common/protocol/messages.h"
#include "common/runtime/file_store.h"
#include "common/shift/look.h"

// What the aggregator demands of an update before it counts. Pure functions;
// every refusal is typed (RefusalOf).

namespace fedgraft {

// What the plan makes of the updates of one kind.
struct UpdateForm {
  TaskKind kind = TaskKind::kTrain;
  RingSpec ring;
  int max_terms = 0;
  uint64_t count = 0;  // words
  // Of these, behind the parameters (common/config/rule_facts.h).
  uint64_t extra_words = 0;
  Digest layout;  // of the trainable set; other kinds: zero
  SealedStreamShape shape;
  // Secure aggregation: one update says nothing, so only shape and identity
  // are checked.
  bool masked = false;
  std::shared_ptr<const Look> look;  // kSketch
};
// For all but kSolve and kSketch. INVALID_ARGUMENT: the plan's ring is
// impossible.
absl::StatusOr<UpdateForm> MakeUpdateForm(const Plan& plan,
                                          const ParameterLayout& layout,
                                          TaskKind kind);

// Of the stage under way; none is to be had (count 0) without `look`.
UpdateForm MakeSketchForm(const RunState& state,
                          std::shared_ptr<const Look> look);

// Of the current solve point; none is to be had (count 0) once solved.
UpdateForm MakeSolveForm(const RunState& state);

// Whether an upload with this header may be sent now: run, plan, phase, base
// model, size, the site's part in the round, and no contribution before.
// `upload_size_bytes_max`: the operator's limit. Refuses in that order, but
// kAlreadyContributed before kWrongRound.
absl::Status CheckHeader(const RunState& state, const UpdateForm& form,
                         const SiteId& site, const UploadHeader& header,
                         uint64_t upload_size_bytes_max);

struct UpdateToVerify {
  SitePeer site;
  UploadHeader header;
  std::shared_ptr<const RunFacts> run;
  UpdateForm form;
  std::shared_ptr<const RunKey> key;
};
// Opens every chunk of the sealed bytes and checks signature, seal, layout,
// number of words, ring, weight, that no word can make a sum wrap, and (if the
// plan clips) the norm: what passes cannot fail the reduce later. Reads all,
// holds one chunk; for the executor. The digest of the sealed bytes is the
// spool's to check. Refusals; an error without a reason: the file could not be
// read. Returns what opened it.
// `seen`: who opened them all as they arrived; null: they are read now.
class ArrivalCheck;
absl::StatusOr<std::shared_ptr<const SealedStreamOpener>> VerifyUpdate(
    const UpdateToVerify& update, std::shared_ptr<const ReadableFile> sealed,
    ArrivalCheck* seen = nullptr);

// What the words have to be.
UpdateExpectation ExpectationOf(const UpdateForm& form);

// The opener for a contribution's chunks. `enc`: its first bytes.
// INVALID_ARGUMENT: no such key.
absl::StatusOr<SealedStreamOpener> MakeOpener(const SiteId& site,
                                              const UploadHeader& header,
                                              const UpdateForm& form,
                                              const RunKey& key, ByteSpan enc);
// The same; errors also of the file.
absl::StatusOr<SealedStreamOpener> OpenSealed(const SiteId& site,
                                              const UploadHeader& header,
                                              const UpdateForm& form,
                                              const RunKey& key,
                                              const ReadableFile& sealed);

}  // namespace fedgraft
