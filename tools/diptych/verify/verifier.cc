#include "tools/diptych/verify/verifier.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/base/errors.h"
#include "archiver/base/file.h"
#include "archiver/base/limits.h"
#include "archiver/base/sha256.h"
#include "archiver/base/status_macros.h"
#include "tools/diptych/verify/bag.h"
#include "tools/diptych/verify/bundle_folder.h"
#include "tools/diptych/verify/chain.h"
#include "tools/diptych/verify/custody.h"
#include "tools/diptych/verify/disclosures.h"
#include "tools/diptych/verify/evidence.h"
#include "tools/diptych/verify/gzip_text.h"
#include "tools/diptych/verify/log_tree.h"
#include "tools/diptych/verify/matroska_shape.h"
#include "tools/diptych/verify/media_reader.h"
#include "tools/diptych/verify/mp4_shape.h"
#include "tools/diptych/verify/packet_check.h"
#include "tools/diptych/verify/receipt_check.h"
#include "tools/diptych/verify/report.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr char kEvidenceFile[] = "data/evidence.json.gz";
constexpr char kReportFile[] = "data/report.html";
constexpr char kManifestFile[] = "manifest-sha256.txt";
constexpr char kTagManifestFile[] = "tagmanifest-sha256.txt";
constexpr size_t kMaxTagFile_bytes = 64 << 10;
constexpr size_t kMaxManifest_bytes = size_t{256} << 20;

absl::Status False(absl::string_view place, absl::string_view what) {
  return base::IntegrityError(absl::StrCat(place, ": ", what));
}

class Verification {
 public:
  Verification(const BundleFolder& folder, const VerifyOptions& options,
               VerifyResult* result)
      : folder_(folder), options_(options), result_(result) {}

  absl::Status Run();

 private:
  absl::Status ReadEvidence();
  absl::Status CheckFiles();
  absl::Status CheckBag();
  absl::Status CheckNames() const;
  absl::Status CheckMedia(const Chain& chain);
  absl::Status CheckReport() const;
  absl::Status CheckReceipt() const;
  absl::Status Progress(uint64_t bytes) {
    done_ += bytes;
    return options_.on_progress ? options_.on_progress(done_, total_)
                                : absl::OkStatus();
  }

  const BundleFolder& folder_;
  const VerifyOptions& options_;
  VerifyResult* const result_;
  std::map<std::string, uint64_t> sizes_;
  // Of data/.
  FileHashes hashes_;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
  Evidence evidence_;
};

absl::Status Verification::CheckFiles() {
  ASSIGN_OR_RETURN(sizes_, folder_.List());
  for (const auto& [path, size] : sizes_) {
    if (absl::StartsWith(path, "data/")) total_ += size;
    // Once for its hash, once for its packets.
    if (absl::StartsWith(path, "data/media.")) total_ += size;
  }
  for (const auto& [path, size] : sizes_) {
    if (!absl::StartsWith(path, "data/")) continue;
    ASSIGN_OR_RETURN(std::string hash,
                     folder_.HashFile(path, [this](uint64_t bytes) {
                       return Progress(bytes);
                     }));
    hashes_.emplace(path, std::move(hash));
  }
  if (options_.before_bag) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string manifest,
                   folder_.ReadFile(kManifestFile, kMaxManifest_bytes));
  if (manifest != ManifestText(hashes_)) {
    return base::IntegrityError(
        ManifestDifference(kManifestFile, manifest, hashes_));
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckBag() {
  if (options_.before_bag) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string declaration,
                   folder_.ReadFile("bagit.txt", kMaxTagFile_bytes));
  if (declaration != BagDeclaration()) {
    return False("bagit.txt", "is not what a bundle has there");
  }
  BagInfo info;
  info.archive = evidence_.archive.ToString();
  info.session = evidence_.session.ToString();
  info.access_time_us = result_->access_time_us;
  for (const auto& [path, hash] : hashes_) {
    ++info.payload_files;
    info.payload_bytes += sizes_.at(path);
  }
  ASSIGN_OR_RETURN(const std::string info_text,
                   folder_.ReadFile("bag-info.txt", kMaxTagFile_bytes));
  if (info_text != BagInfoText(info)) {
    return False("bag-info.txt",
                 "does not say what the evidence and the files say");
  }
  FileHashes tags;
  for (const char* name : {"bagit.txt", "bag-info.txt", kManifestFile}) {
    ASSIGN_OR_RETURN(std::string hash, folder_.HashFile(name, nullptr));
    tags.emplace(name, std::move(hash));
  }
  ASSIGN_OR_RETURN(const std::string tag_manifest,
                   folder_.ReadFile(kTagManifestFile, kMaxTagFile_bytes));
  if (tag_manifest != ManifestText(tags)) {
    return base::IntegrityError(
        ManifestDifference(kTagManifestFile, tag_manifest, tags));
  }
  for (const auto& [path, size] : sizes_) {
    if (!absl::StartsWith(path, "data/") && !tags.contains(path) &&
        path != kTagManifestFile) {
      return False(path, "no bundle has such a file");
    }
  }
  return absl::OkStatus();
}

// No file in data/ that nothing speaks of: whatever lies in a bundle is read as
// a part of it.
absl::Status Verification::CheckNames() const {
  FileHashes known;
  const auto know = [&known](absl::string_view path) {
    known.emplace(absl::StrCat("data/", path), "");
  };
  know(evidence_.media_file);
  know("boundary.bin");
  know("evidence.json.gz");
  know("checkpoint");
  know("report.html");
  know(evidence_.opened.proof);
  if (evidence_.closed.has_value()) know(evidence_.closed->proof);
  know(evidence_.access.header.proof);
  for (const ProvenHeader& manifest : evidence_.manifests) {
    if (!manifest.proof.empty()) know(manifest.proof);
  }
  for (const Anchor& anchor : evidence_.anchors) {
    know(anchor.checkpoint);
    if (!anchor.timestamp.empty()) know(anchor.timestamp);
  }
  for (const auto& [path, size] : sizes_) {
    if (!absl::StartsWith(path, "data/") || known.contains(path) ||
        absl::StartsWith(path, "data/attachments/")) {
      continue;
    }
    return False(path, "nothing in evidence.json is of it");
  }
  return absl::OkStatus();
}

absl::Status Verification::ReadEvidence() {
  ASSIGN_OR_RETURN(
      const std::string packed,
      folder_.ReadFile(kEvidenceFile, limits::kMaxEvidenceFile_bytes));
  const absl::StatusOr<std::string> unpacked =
      UnpackGzip(packed, limits::kMaxEvidenceFile_bytes);
  if (unpacked.status().code() == absl::StatusCode::kDataLoss) {
    return False(kEvidenceFile, unpacked.status().message());
  }
  RETURN_IF_ERROR(unpacked.status());
  const std::string& text = *unpacked;
  ASSIGN_OR_RETURN(evidence_, ParseEvidence(text));
  result_->archive = evidence_.archive;
  result_->session = evidence_.session;
  result_->start_time_us = evidence_.start_time_us;
  result_->from_us = evidence_.from_us;
  result_->to_us = evidence_.to_us;
  result_->media_file = evidence_.media_file;
  const std::string media = absl::StrCat("data/", evidence_.media_file);
  const auto hash = hashes_.find(media);
  if (hash == hashes_.end()) return False(media, "is missing");
  result_->media_sha256_hex = hash->second;
  result_->media_bytes = sizes_.at(media);
  return absl::OkStatus();
}

absl::Status Verification::CheckMedia(const Chain& chain) {
  ASSIGN_OR_RETURN(const Spans spans, CheckSpans(evidence_));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<PacketCheck> packets,
      PacketCheck::Create(evidence_, chain, options_.trust, folder_, result_));
  const std::string place = absl::StrCat("data/", evidence_.media_file);
  ASSIGN_OR_RETURN(const std::unique_ptr<base::ReadFile> file,
                   folder_.OpenFile(place));
  std::vector<ShownTime> shown;
  if (evidence_.mp4) {
    ASSIGN_OR_RETURN(shown, CheckMp4Shape(file.get(), place));
  } else {
    RETURN_IF_ERROR(CheckMatroskaShape(file.get(), place));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<MediaReader> media,
                   MediaReader::Open(file.get(), evidence_.mp4, place));
  RETURN_IF_ERROR(packets->CheckStreams(media->streams(), spans));
  MediaPacket packet;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, media->Next(&packet));
    if (!more) break;
    if (packet.stream < shown.size()) {
      packet.cut |= packet.pts_ms < shown[packet.stream].from_ms ||
                    packet.pts_ms >= shown[packet.stream].to_ms;
    }
    RETURN_IF_ERROR(packets->Add(packet));
    RETURN_IF_ERROR(Progress(packet.payload.size()));
  }
  return packets->Finish();
}

absl::Status Verification::CheckReport() const {
  if (options_.before_bag) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::string report,
                   folder_.ReadFile(kReportFile, limits::kMaxReport_bytes));
  if (report != RenderReport(*result_)) {
    return False(kReportFile, "does not say what the evidence says");
  }
  return absl::OkStatus();
}

absl::Status Verification::CheckReceipt() const {
  if (options_.receipt.empty()) return absl::OkStatus();
  return CheckReceiptAgainst(
      VerifyReceipt(options_.receipt, options_.trust), evidence_.archive,
      evidence_.session, evidence_.start_time_us,
      evidence_.closed.has_value() ? &evidence_.closed->header : nullptr);
}

absl::Status Verification::Run() {
  RETURN_IF_ERROR(CheckFiles());
  RETURN_IF_ERROR(ReadEvidence());
  RETURN_IF_ERROR(CheckNames());
  ASSIGN_OR_RETURN(const LogTree tree,
                   LogTree::Open(&folder_, evidence_, options_.trust, result_));
  RETURN_IF_ERROR(tree.CheckAnchors(evidence_, options_.trust, result_));
  ASSIGN_OR_RETURN(const Chain chain, CheckChain(evidence_, tree));
  RETURN_IF_ERROR(CheckRecords(evidence_, chain));
  FillCustody(evidence_, chain, result_);
  RETURN_IF_ERROR(CheckMedia(chain));
  RETURN_IF_ERROR(CheckNotes(evidence_, chain, result_));
  RETURN_IF_ERROR(CheckAttachments(evidence_, folder_, result_));
  RETURN_IF_ERROR(CheckTotals(chain, *result_));
  if (result_->missing.size() > limits::kMaxStatements) {
    result_->missing.resize(limits::kMaxStatements);
    result_->missing.push_back("More is missing than is listed here.");
  }
  RETURN_IF_ERROR(CheckReport());
  RETURN_IF_ERROR(CheckBag());
  RETURN_IF_ERROR(CheckReceipt());
  SayVouching(result_);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VerifyResult> VerifyBundle(const std::string& folder,
                                          const VerifyOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<BundleFolder> opened,
                   BundleFolder::Open(folder));
  VerifyResult result;
  const absl::Status done = Verification(*opened, options, &result).Run();
  if (absl::IsDataLoss(done)) {
    result.falsehood = std::string(done.message());
    return result;
  }
  RETURN_IF_ERROR(done);
  return result;
}

}  // namespace diptych::verify
