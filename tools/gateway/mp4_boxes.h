#ifndef TOOLS_GATEWAY_MP4_BOXES_H_
#define TOOLS_GATEWAY_MP4_BOXES_H_

#include <string>
#include <vector>

namespace diptych::gateway {

// What is wrong with the outermost boxes of an MP4 file, one sentence each:
// libav reads what it can and says nothing of a file that was cut. Empty if all
// is well, or if the file is no MP4 or can't be read. Bounded.
std::vector<std::string> FindMp4Damage(const std::string& path);

}  // namespace diptych::gateway

#endif  // TOOLS_GATEWAY_MP4_BOXES_H_
