#ifndef TOOLS_DIPTYCH_VERIFY_PACKET_CHECK_H_
#define TOOLS_DIPTYCH_VERIFY_PACKET_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "archiver/evidence/digest.h"
#include "archiver/evidence/packet_line.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/disclosures.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/media_reader.h"
#include "tools/diptych/verify/source_check.h"
#include "tools/diptych/verify/timeline.h"
#include "tools/diptych/verify/trust.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {

// Every packet of the bundle against the manifests and the gateways'
// statements. Errors are DATA_LOSS and name track, segment and session time.
// Not thread-safe.
class PacketCheck {
 public:
  // Reads boundary.bin. What it is given must outlive it.
  static absl::StatusOr<std::unique_ptr<PacketCheck>> Create(
      const Evidence& evidence, const Chain& chain, const Trust& trust,
      const BundleFolder& folder, VerifyResult* result);

  // The media's streams against the descriptions of the spans.
  absl::Status CheckStreams(const std::vector<MediaStream>& streams,
                            const Spans& spans);

  // The media's packets in the order of the file.
  absl::Status Add(const MediaPacket& packet);

  // After the last: everything that was named has come. Fills result's tracks.
  absl::Status Finish();

 private:
  struct Track {
    const EvidenceTrack* evidence = nullptr;
    std::unique_ptr<SourceCheck> sources;
    std::unique_ptr<Timeline> timeline;
    TrackResult totals;
    // Packets that players leave out, or some of them, and when.
    uint64_t cut_packets = 0;
    int64_t first_cut_ms = 0;
    int64_t last_cut_ms = 0;
    // The latest one, which at a track's end is as it should be.
    std::optional<int64_t> cut_last_ms;
    // Within the clip's time, but in boundary.bin.
    uint64_t hidden_packets = 0;
    int64_t first_hidden_us = std::numeric_limits<int64_t>::max();
    int64_t last_hidden_us = std::numeric_limits<int64_t>::min();
    // Over the pair runs so far, while they are gathered.
    uint64_t packets = 0;
    // A run had packets behind the media's last: nothing may follow.
    bool ended = false;
  };

  // A pair run and how far it has come.
  struct Run {
    const PairRun* pairs = nullptr;
    const Manifest* manifest = nullptr;
    Track* track = nullptr;
    uint64_t first_packet = 0;
    uint64_t media_packets = 0;
    std::vector<evidence::PacketLine> before;
    std::vector<evidence::PacketLine> after;

    uint64_t seen = 0;
    size_t chunk = 0;
    evidence::TrackLeaf leaf;
    std::vector<std::string> leaf_hashes;
    int64_t first_ms = std::numeric_limits<int64_t>::max();
    int64_t last_ms = std::numeric_limits<int64_t>::min();
    int64_t second_last_ms = std::numeric_limits<int64_t>::min();
  };

  PacketCheck(const Evidence& evidence, const Chain& chain,
              VerifyResult* result)
      : evidence_(evidence), chain_(chain), result_(result) {}

  absl::Status GatherRuns();
  absl::Status AddRun(const PairRun& pairs, const Manifest& manifest);
  absl::Status ReadBoundary(const BundleFolder& folder);
  // Starts runs, and ends those that need nothing more of the media.
  absl::Status Advance(size_t stream);
  // `played`: it is of the media file.
  absl::Status AddLine(Run* run, evidence::PacketLine line, bool played);
  absl::Status FinishChunk(Run* run);
  absl::Status FinishRun(Run* run);
  // What the evidence calls the track, against the description of a span.
  absl::Status CheckLabels(const Run& run,
                           const stored::v1::SpanDescription& span) const;
  // REQUIRES: CheckLabels has passed.
  absl::Status CheckStream(const MediaStream& stream, const Run& run,
                           const Spans& spans) const;
  static void NoteCut(const MediaPacket& packet, int64_t pts_ms, Track* track);
  static void NoteNotPlayed(int64_t pts_us, Track* track);
  void SayHidden() const;
  void SayCut() const;
  static int64_t EndOf(const Run& run);
  void SayLeftOut();
  std::string PlaceOf(const Run& run) const;

  const Evidence& evidence_;
  const Chain& chain_;
  VerifyResult* const result_;
  std::map<uint32_t, Track> tracks_;
  // Stays where it is: queues point into it.
  std::deque<Run> runs_;
  // By stream: runs that it has packets for, in order; the front one is begun.
  std::vector<std::deque<Run*>> queues_;
  // By stream: media packets that the front run still takes.
  std::vector<uint64_t> media_left_;
};

}  // namespace diptych::verify

#endif  // TOOLS_DIPTYCH_VERIFY_PACKET_CHECK_H_
