#pragma once

// Where things lie in a site's state folder, for the daemon, which puts them
// there, and for `predict`, which looks for them.

namespace fedgraft {

inline constexpr char kRunsFolder[] = "runs/";  // a folder for each run
inline constexpr char kBackbonesFolder[] = "backbones/";
// In a run's folder.
inline constexpr char kFinalModelFile[] = "final.safetensors";
inline constexpr char kTrainerFolder[] = "trainer";

}  // namespace fedgraft
