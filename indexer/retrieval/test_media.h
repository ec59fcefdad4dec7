#ifndef INDEXER_RETRIEVAL_TEST_MEDIA_H_
#define INDEXER_RETRIEVAL_TEST_MEDIA_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "archiver/media/packet_table.h"
#include "proto/stored/v1/records.pb.h"

namespace diptych::indexer {

// For tests: what libav's demuxers see in a file.

struct TestPacket {
  // track_id is the track's place in the file, from 1 on.
  media::PacketInfo info;
  std::string payload;
};

struct TestMedia {
  std::vector<stored::v1::Track> tracks;
  // In the file's order.
  std::vector<TestPacket> packets;

  std::vector<TestPacket> Of(uint32_t track_id) const;
};

// Aborts the test program if the file can't be read.
TestMedia ReadMedia(const std::string& path);
TestMedia ReadMediaBytes(absl::string_view bytes);

// Moves all times so that no pts is negative, as a gateway does, and gives all
// tracks to `side` with ids from `first_track_id` on and sequences from 1 on.
void MakeSide(stored::v1::Side side, uint32_t first_track_id, TestMedia* media);

// tests/data/NAME.
std::string OwnMedia(const std::string& name);
// Of the folder of recorded media; empty if it is not there.
std::string SharedMedia(const std::string& name);

// A file that is written in pieces, some places twice.
class FileBytes {
 public:
  void Write(uint64_t offset, absl::string_view bytes);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// gtest expectations: `file` has on track number `file_track` exactly
// `packets`: payloads, order, key flags; pts, moved back by `origin_us`, within
// 1 ms.
void ExpectSamePackets(const std::vector<TestPacket>& packets,
                       const TestMedia& file, uint32_t file_track,
                       int64_t origin_us);

}  // namespace diptych::indexer

#endif  // INDEXER_RETRIEVAL_TEST_MEDIA_H_
