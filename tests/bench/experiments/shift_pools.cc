// Features of images for the experiments on shift: what a frozen backbone makes
// of every image of a data config, all splits, as one NumPy array of float32
// [n, 2 + d]: label, patient, features.
//
//   shift_pools --backbone B.safetensors --data data.yaml --classes a,b
//               --image-size 97 --out pool.npy

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/data/data_source_factory.h"
#include "client/train/compute.h"
#include "client/train/starting_network.h"
#include "common/config/config_loader.h"
#include "proto/config.pb.h"
#include "tests/train/fixture.h"
#include "tests/train/linear_probe.h"

namespace fedgraft {
namespace {

template <typename T>
T Get(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

// Version 1 of the NPY format.
void WriteNpy(const std::string& path, const std::vector<float>& values,
              int64_t rows) {
  std::string header =
      "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
      std::to_string(rows) + ", " +
      std::to_string(static_cast<int64_t>(values.size()) / rows) + "), }";
  header.resize((10 + header.size() + 64) / 64 * 64 - 11, ' ');
  header += '\n';
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8);
  file.put(static_cast<char>(header.size() % 256));
  file.put(static_cast<char>(header.size() / 256));
  file << header;
  file.write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file.flush()) {
    std::fprintf(stderr, "%s: could not be written\n", path.c_str());
    std::exit(1);
  }
}

int Main(int argc, char** argv) {
  std::string architecture = "mobilenet_v2", backbone, data_path, out;
  std::vector<std::string> classes;
  PreprocessingSpec preprocessing;
  preprocessing.mean = {0.485, 0.456, 0.406};
  preprocessing.std = {0.229, 0.224, 0.225};
  int threads = 1;
  CLI::App app{"Features of a frozen backbone, for experiments"};
  app.add_option("--architecture", architecture);
  app.add_option("--backbone", backbone)->required();
  app.add_option("--data", data_path)->required();
  app.add_option("--classes", classes)->delimiter(',')->required();
  app.add_option("--image-size", preprocessing.size);
  app.add_option("--out", out)->required();
  app.add_option("--threads", threads);
  CLI11_PARSE(app, argc, argv);

  Get(SetUpCompute({"cpu", threads, "none"}));
  const auto data = Get(OpenDataSource(Get(LoadDataConfig(data_path)),
                                       {classes, DataUse::kTrain}));
  StartingNetwork start = Get(StartNetwork(
      architecture, static_cast<int64_t>(classes.size()), backbone, 0));
  std::vector<float> values;
  std::map<std::string, int> patients;
  int64_t rows = 0;
  for (const Split split : {Split::kTrain, Split::kVal, Split::kTest}) {
    const std::vector<Sample>& samples = data->Samples(split);
    if (samples.empty()) continue;
    const LabelledFeatures features =
        testing::FeaturesOf(*start.network, *data, preprocessing, split);
    const torch::Tensor single =
        features.values.to(torch::kFloat32).contiguous();
    const int64_t dim = single.size(1);
    for (size_t i = 0; i < samples.size(); ++i, ++rows) {
      // Images without a patient's name are patients of their own.
      const std::string patient = samples[i].patient.empty()
                                      ? "#" + std::to_string(rows)
                                      : samples[i].patient;
      values.push_back(static_cast<float>(samples[i].label));
      values.push_back(static_cast<float>(
          patients.emplace(patient, static_cast<int>(patients.size()))
              .first->second));
      const float* row = single.data_ptr<float>() + i * dim;
      values.insert(values.end(), row, row + dim);
    }
  }
  WriteNpy(out, values, rows);
  return 0;
}

}  // namespace
}  // namespace fedgraft

int main(int argc, char** argv) { return fedgraft::Main(argc, argv); }
