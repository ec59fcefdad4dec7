#ifndef ARCHIVER_SEAL_ASSOCIATED_DATA_H_
#define ARCHIVER_SEAL_ASSOCIATED_DATA_H_

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "archiver/log/record.h"

namespace diptych::seal {

// What a record's seal binds beside its body: suite, archive, record type and
// the clear header as it lies in the log (FORMAT.md). The fields in front have
// fixed lengths, so no two records share one form.
inline std::string AssociatedData(absl::string_view archive_id,
                                  log::RecordType type,
                                  absl::string_view header) {
  const char type_byte = static_cast<char>(type);
  return absl::StrCat("diptych-seal-1", archive_id,
                      absl::string_view(&type_byte, 1), header);
}

}  // namespace diptych::seal

#endif  // ARCHIVER_SEAL_ASSOCIATED_DATA_H_
