#include "tools/diptych/verify/report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "archiver/base/limits.h"
#include "tools/diptych/verify/result_text.h"
#include "tools/diptych/verify/timeline_picture.h"
#include "tools/diptych/verify/verify_result.h"

namespace diptych::verify {
namespace {

constexpr absl::string_view kStyle =
    "body{font:14px/1.45 sans-serif;color:#111;max-width:1000px;margin:2em "
    "auto;padding:0 1em}"
    "h1{font-size:22px;margin-bottom:0}h2{font-size:16px;margin:1.6em 0 .4em;"
    "border-bottom:1px solid #888}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{border:1px solid #bbb;padding:.25em .5em;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}th{background:#f0f0f0}"
    "th.side{width:14em}"
    "code,pre{font:12px/1.4 monospace;overflow-wrap:anywhere;white-space:"
    "pre-wrap}pre{background:#f6f6f6;border:1px solid #ccc;padding:.6em}"
    ".key{font-size:12px}.key svg{vertical-align:middle}.fine{color:#555}"
    "@page{margin:18mm 15mm}"
    "@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:"
    "avoid}tr,svg,pre{break-inside:avoid}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}";

class Page {
 public:
  void Add(absl::string_view html) { absl::StrAppend(&html_, html); }
  void Heading(absl::string_view text, absl::string_view chinese) {
    absl::StrAppend(&html_, "<h2>", EscapeHtml(text),
                    " &#183; <span lang=\"zh\">", EscapeHtml(chinese),
                    "</span></h2>\n");
  }
  void Paragraph(absl::string_view text) {
    absl::StrAppend(&html_, "<p>", EscapeHtml(text), "</p>\n");
  }
  // A table of names and values.
  void Begin() { html_.append("<table>\n"); }
  void Pair(absl::string_view name, absl::string_view value) {
    absl::StrAppend(&html_, "<tr><th class=\"side\">", EscapeHtml(name),
                    "</th><td>", EscapeHtml(value), "</td></tr>\n");
  }
  void Head(std::initializer_list<absl::string_view> cells) {
    html_.append("<tr>");
    for (absl::string_view cell : cells) {
      absl::StrAppend(&html_, "<th>", EscapeHtml(cell), "</th>");
    }
    html_.append("</tr>\n");
    rows_ = 0;
  }
  // False once the table has as many rows as a report may have.
  bool Row(const std::vector<std::string>& cells) {
    if (++rows_ > limits::kMaxReportRows) return false;
    html_.append("<tr>");
    for (const std::string& cell : cells) {
      absl::StrAppend(&html_, "<td>", EscapeHtml(cell), "</td>");
    }
    html_.append("</tr>\n");
    return true;
  }
  void End(size_t all = 0) {
    html_.append("</table>\n");
    if (all > limits::kMaxReportRows) {
      Paragraph(absl::StrCat(all - limits::kMaxReportRows,
                             " more are in the evidence and not listed here."));
    }
  }
  std::string Take() { return std::move(html_); }

 private:
  std::string html_;
  size_t rows_ = 0;
};

std::string ClipText(const VerifyResult& result) {
  return absl::StrCat(
      OffsetText(result.from_us), " to ", OffsetText(result.to_us),
      " of the session: ", TimeText(result.start_time_us + result.from_us),
      " to ", TimeText(result.start_time_us + result.to_us));
}

void AddSummary(const VerifyResult& result, Page* page) {
  page->Heading("What this is", "概要");
  page->Begin();
  page->Pair("Session", result.session.ToString());
  page->Pair("Archive", result.archive.ToString());
  page->Pair("Began", TimeText(result.start_time_us));
  page->Pair("This bundle covers", ClipText(result));
  page->Pair("In microseconds of the session",
             absl::StrCat(result.from_us, " to ", result.to_us));
  page->Pair("Extent", result.whole_session
                           ? "the whole session; nothing of it is left out"
                           : "a part of the session");
  page->Pair("State of the session", !result.closed     ? "open"
                                     : result.abandoned ? "abandoned"
                                                        : "closed");
  page->Pair("Recorded through the gateway", result.gateway);
  page->Pair("Exported for", result.principal);
  page->Pair("Purpose", result.purpose);
  page->Pair("Exported", TimeText(result.access_time_us));
  page->Pair("Media file", absl::StrCat("data/", result.media_file, ", ",
                                        result.media_bytes, " bytes"));
  page->Pair("SHA-256 of the media file", result.media_sha256_hex);
  page->End();
}

void AddTracks(const VerifyResult& result, Page* page) {
  page->Heading("What is proven, second by second", "逐秒证明");
  page->Add(TimelinePicture(result));
  page->Begin();
  page->Head({"Track", "From", "To", "What is known"});
  size_t rows = 0;
  for (const TrackResult& track : result.tracks) {
    for (const StateRange& range : track.ranges) {
      ++rows;
      std::string known(StateText(range.state));
      if (range.state == SecondState::kSigned) {
        absl::StrAppend(&known, " (key ", result.source_keys[range.key].id,
                        ")");
      }
      if (!page->Row({TrackText(track), OffsetText(range.from_us),
                      OffsetText(range.to_us), std::move(known)})) {
        continue;
      }
    }
  }
  page->End(rows);
  page->Begin();
  page->Head({"Track", "Packets", "Bytes", "Of these signed at the source"});
  for (const TrackResult& track : result.tracks) {
    page->Row({TrackText(track), absl::StrCat(track.packets),
               absl::StrCat(track.payload_bytes),
               absl::StrCat(track.signed_packets)});
  }
  page->End();
}

void AddMissing(const VerifyResult& result, Page* page) {
  page->Heading("What is missing", "缺失内容");
  if (result.missing.empty()) {
    page->Paragraph(
        "Nothing that the manifests name for this time is missing.");
    return;
  }
  page->Add("<ul>\n");
  for (const std::string& sentence : result.missing) {
    page->Add(absl::StrCat("<li>", EscapeHtml(sentence), "</li>\n"));
  }
  page->Add("</ul>\n");
}

void AddWords(const VerifyResult& result, Page* page) {
  page->Heading("Tags", "标签");
  page->Begin();
  page->Head({"From", "Side", "Key", "Change", "Values"});
  for (const TagRow& tag : result.tags) {
    if (!page->Row({OffsetText(tag.at_us), tag.side, tag.key, tag.operation,
                    absl::StrJoin(tag.values, ", ")})) {
      break;
    }
  }
  page->End(result.tags.size());
  page->Heading("Events", "事件");
  page->Begin();
  page->Head({"At", "Side", "Type", "Attributes", "Document"});
  for (const EventRow& event : result.events) {
    const std::string attributes =
        absl::StrJoin(event.attributes, ", ", absl::PairFormatter("="));
    const std::string document =
        event.attachment_id == 0
            ? ""
            : absl::StrCat(event.attachment_id, " ", event.attachment_name);
    if (!page->Row({OffsetText(event.at_us), event.side, event.type, attributes,
                    document})) {
      break;
    }
  }
  page->End(result.events.size());
  page->Heading("Documents", "文件");
  page->Begin();
  page->Head({"Number", "File", "Bytes", "SHA-256"});
  for (const AttachmentRow& row : result.attachments) {
    page->Row({absl::StrCat(row.attachment_id), absl::StrCat("data/", row.file),
               absl::StrCat(row.bytes), row.sha256_hex});
  }
  page->End(result.attachments.size());
}

void AddCustody(const VerifyResult& result, Page* page) {
  page->Heading("Chain of custody", "保管链");
  page->Begin();
  page->Head({"When", "What"});
  for (const CustodyRow& row : result.custody) {
    if (!page->Row({TimeText(row.time_us), row.what})) break;
  }
  page->End(result.custody.size());
}

void AddKeys(const VerifyResult& result, Page* page) {
  page->Heading("Whose signatures this carries", "签名与密钥");
  page->Paragraph(
      "This page can't vouch for itself. The signatures below count as far as "
      "you know from elsewhere whose keys these are.");
  page->Begin();
  page->Pair("The archive's log",
             absl::StrCat(result.log_key.name, ", key ", result.log_key.id));
  page->Pair("Its tree", absl::StrCat(result.tree_size, " leaves, root ",
                                      result.tree_root_hex));
  for (const SeenKey& key : result.source_keys) {
    page->Pair("Source", absl::StrCat("key ", key.id,
                                      " (first 8 bytes of SHA-256 of the "
                                      "public key)"));
  }
  for (const SeenKey& witness : result.witnesses) {
    page->Pair(
        "Witness",
        absl::StrCat(witness.name, ", key ", witness.id,
                     witness.signed_time_us.has_value()
                         ? absl::StrCat(", ", TimeText(*witness.signed_time_us))
                         : "",
                     ", ", LeavesText(result, witness.tree_size)));
  }
  for (const SeenTimestamp& stamp : result.timestamps) {
    page->Pair("Time stamp (RFC 3161)",
               absl::StrCat(TimeText(stamp.stamped_time_us), ", ",
                            LeavesText(result, stamp.tree_size)));
  }
  page->End();
  if (result.source_keys.empty()) {
    page->Paragraph("Nothing here is signed at its source.");
  }
  if (result.witnesses.empty()) page->Paragraph("No witness cosigned it.");
  if (result.timestamps.empty()) page->Paragraph("No time stamp is with it.");
}

void AddChecking(const VerifyResult& result, Page* page) {
  page->Heading("Check it yourself", "自行验证");
  page->Paragraph(
      "In the folder of this bundle. The keys are those that the archive's "
      "operator has published; take them from somebody you trust, not from "
      "whoever gave you the bundle.");
  std::string commands =
      "sha256sum -c manifest-sha256.txt\n"
      "diptych verify . --log-key KEYS\n"
      "sed -n 1,3p data/checkpoint\n";
  if (!result.timestamps.empty()) {
    absl::StrAppend(&commands,
                    "openssl ts -reply -in data/anchors/N.tsr -text\n"
                    "openssl ts -verify -data data/anchors/N.checkpoint -in "
                    "data/anchors/N.tsr -CAfile AUTHORITY.pem\n");
  }
  page->Add(absl::StrCat("<pre>", EscapeHtml(commands), "</pre>\n"));
  page->Paragraph(
      "The first command shows that no file was changed since the bundle was "
      "made. The second proves, with public keys alone, that packets, times, "
      "tags, events and documents are those that the archive stored and that "
      "its gateways signed. The formats are open: BUNDLE_FORMAT.md and "
      "FORMAT.md of the archive's software say all that a second verifier "
      "needs.");
}

}  // namespace

std::string RenderReport(const VerifyResult& result) {
  Page page;
  page.Add(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"generator\" content=\"diptych-report-1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
      "'none'; style-src 'unsafe-inline'\"><title>Custody report</title>"
      "<style>");
  page.Add(kStyle);
  page.Add(
      "</style></head><body>\n<h1>Custody report &#183; <span "
      "lang=\"zh\">保管链报告</span></h1>\n<p class=\"fine\">Made of the "
      "evidence in this bundle. Times are UTC; offsets count from the "
      "session's beginning.</p>\n");
  AddSummary(result, &page);
  AddTracks(result, &page);
  AddMissing(result, &page);
  AddWords(result, &page);
  AddCustody(result, &page);
  AddKeys(result, &page);
  AddChecking(result, &page);
  page.Add("</body></html>\n");
  return page.Take();
}

}  // namespace diptych::verify
