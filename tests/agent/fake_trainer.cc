// A trainer for tests of the daemon's side: speaks proto/trainer.proto on file
// descriptor 3 as well or as badly as its argument says.

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "proto/trainer.pb.h"

namespace {

using fedgraft::pb::TrainerReply;
using fedgraft::pb::TrainerRequest;

bool ReadFully(void* out, size_t size) {
  auto* bytes = static_cast<char*>(out);
  for (size_t done = 0; done < size;) {
    const ssize_t got = read(3, bytes + done, size - done);
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

void WriteRaw(const std::string& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(3, bytes.data() + done, bytes.size() - done);
    if (n <= 0) _exit(3);
    done += static_cast<size_t>(n);
  }
}

void WriteFrame(const std::string& payload) {
  const uint32_t size = static_cast<uint32_t>(payload.size());
  WriteRaw(std::string(reinterpret_cast<const char*>(&size), 4) + payload);
}

void Send(const TrainerReply& reply) { WriteFrame(reply.SerializeAsString()); }

// What the process inherited: descriptors, group, core limit, a variable.
std::string Inspect() {
  std::string text = "fds=";
  DIR* folder = opendir("/proc/self/fd");
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name[0] != '.' && std::stoi(name) != dirfd(folder)) text += name + ",";
  }
  closedir(folder);
  rlimit core = {};
  getrlimit(RLIMIT_CORE, &core);
  text += " leader=" + std::to_string(getpgrp() == getpid());
  text += " core=" + std::to_string(core.rlim_cur);
  text +=
      " secret=" + std::to_string(getenv("FEDGRAFT_TEST_SECRET") != nullptr);
  return text;
}

void Configure(const std::string& mode, uint64_t id) {
  if (mode == "exit") _exit(7);
  if (mode == "allocate") {
    void* memory = malloc(size_t{1} << 30);
    if (memory == nullptr) _exit(8);
    free(memory);
  }
  TrainerReply reply;
  reply.set_id(id);
  auto* configured = reply.mutable_configured();
  configured->set_train_samples(100);
  configured->set_layout_digest(std::string(32, 'd'));
  configured->set_device(mode == "inspect" ? Inspect() : "cpu");
  if (mode == "short_digest") configured->set_layout_digest("short");
  Send(reply);
}

void SendProgress(uint64_t id, float fraction) {
  TrainerReply progress;
  progress.set_id(id);
  progress.mutable_progress()->set_fraction(fraction);
  Send(progress);
}

// True if the mode leaves nothing more to answer.
bool Misbehave(const std::string& mode, uint64_t id) {
  TrainerReply reply;
  reply.set_id(id);
  if (mode == "crash") {
    signal(SIGSEGV, SIG_DFL);  // a sanitizer would make it an exit
    raise(SIGSEGV);
  }
  if (mode == "hang") pause();
  if (mode == "close") close(3), pause();
  if (mode == "garbage") WriteFrame(std::string(50, '\xff'));
  if (mode == "huge_frame") WriteRaw(std::string("\xff\xff\xff\x7f", 4));
  if (mode == "wrong_id")
    reply.set_id(id + 1), reply.mutable_trained(), Send(reply);
  if (mode == "wrong_kind") reply.mutable_configured(), Send(reply);
  if (mode == "empty") Send(reply);
  if (mode == "bad_progress") SendProgress(id, std::nanf(""));
  if (mode == "error" || mode == "cancelled_error") {
    reply.mutable_error()->set_code(mode == "error" ? 3 : 1);
    reply.mutable_error()->set_message("label 7 is\tout of range");
    Send(reply);
    return true;
  }
  return mode != "ok" && mode != "slow" && mode != "flood" &&
         mode != "unasked" && mode.find("sums") == std::string::npos &&
         mode != "scalar_nan";
}

void Train(const std::string& mode, uint64_t id) {
  if (Misbehave(mode, id)) return;
  if (mode == "slow") {
    for (int i = 0; i < 12; ++i) {
      SendProgress(id, static_cast<float>(i) / 12);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  for (int i = 0; mode == "flood" && i < 20000; ++i) SendProgress(id, 2);
  TrainerReply reply;
  reply.set_id(id);
  reply.mutable_trained()->set_samples(100);
  reply.mutable_trained()->set_loss(0.5);
  Send(reply);
  if (mode == "unasked") Send(reply);
}

void Evaluate(const std::string& mode, uint64_t id) {
  TrainerReply reply;
  reply.set_id(id);
  auto* evaluated = reply.mutable_evaluated();
  for (int i = 0; i < 10; ++i) evaluated->add_sums(i);
  if (mode == "nan_sums") evaluated->set_sums(4, std::nan(""));
  if (mode == "many_sums") {
    evaluated->mutable_sums()->Resize((1 << 22) + 1, 1.0);
  }
  (*evaluated->mutable_scalars())["auc"] =
      mode == "scalar_nan" ? std::nan("") : 0.75;
  Send(reply);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "ok";
  for (;;) {
    uint32_t size = 0;
    if (!ReadFully(&size, 4)) return 0;
    std::string bytes(size, '\0');
    if (!ReadFully(bytes.data(), size)) return 0;
    TrainerRequest request;
    if (!request.ParseFromString(bytes)) return 4;
    if (request.has_configure()) Configure(mode, request.id());
    if (request.has_train()) Train(mode, request.id());
    if (request.has_evaluate()) Evaluate(mode, request.id());
  }
}
