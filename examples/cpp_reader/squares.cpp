// The reader of square numbers in C++: exceptions end at the boundary, and memory belongs to objects.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "dativo_json.h"
#include "dativo_plugin.h"

namespace {

constexpr int64_t kSplitRows = 1000, kBatchRows = 250;

struct Reader {
  int64_t to;
  std::atomic<bool> cancelled{false};
};

// ---- answers -----------------------------------------------------------------------------------------------------------

char *Copy(const std::string &text) {
  char *made = new char[text.size() + 1];
  std::memcpy(made, text.c_str(), text.size() + 1);
  return made;
}

std::string Quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return out + "\"";
}

// Runs `work`; what it throws becomes the answer.
template <typename Work>
int32_t Answered(char **answer, Work work) noexcept {
  try {
    work();
    return DATIVO_OK;
  } catch (const std::exception &error) {
    const bool ours = dynamic_cast<const std::invalid_argument *>(&error) != nullptr;
    const char *kind = ours ? "ConfigurationError" : "PluginError";
    try {
      *answer = Copy("{\"kind\": \"" + std::string(kind) + "\", \"message\": " + Quoted(error.what()) + "}");
    } catch (...) {  // no memory for the words: the failure alone is told
    }
    return DATIVO_FAILED;
  } catch (...) {
    return DATIVO_FAILED;
  }
}

// A member of an object in the host's JSON, a whole number.
int64_t Number(const char *object, const char *name) {
  int64_t found;
  if (!json_int(json_member(object, name), &found)) throw std::invalid_argument(std::string(name) + " must be a number");
  return found;
}

// ---- Arrow: each struct owns what hangs on its private_data -------------------------------------------------------------

struct Schema {
  std::vector<ArrowSchema> fields;
  std::vector<ArrowSchema *> pointers;
};

void ReleaseField(ArrowSchema *schema) { schema->release = nullptr; }

void ReleaseSchema(ArrowSchema *schema) {
  delete static_cast<Schema *>(schema->private_data);
  schema->release = nullptr;
}

ArrowSchema MakeSchema() {
  auto owned = std::make_unique<Schema>();
  for (const char *name : {"n", "square"})
    owned->fields.push_back({"l", name, nullptr, 0, 0, nullptr, nullptr, ReleaseField, nullptr});
  for (auto &field : owned->fields) owned->pointers.push_back(&field);
  ArrowSchema **children = owned->pointers.data();
  return {"+s", "", nullptr, 0, 2, children, nullptr, ReleaseSchema, owned.release()};
}

struct Column {
  std::vector<int64_t> values;
  const void *buffers[2];
};

void ReleaseColumn(ArrowArray *array) {
  delete static_cast<Column *>(array->private_data);
  array->release = nullptr;
}

struct Batch {
  ArrowArray columns[2]{};
  ArrowArray *pointers[2]{&columns[0], &columns[1]};
  const void *buffers[1]{nullptr};

  ~Batch() {
    for (auto &column : columns)  // a consumer may have moved one out
      if (column.release != nullptr) column.release(&column);
  }
};

void ReleaseBatch(ArrowArray *array) {
  delete static_cast<Batch *>(array->private_data);
  array->release = nullptr;
}

ArrowArray MakeBatch(int64_t from, int64_t to) {
  auto batch = std::make_unique<Batch>();
  for (int i = 0; i < 2; i++) {
    auto column = std::make_unique<Column>();
    for (int64_t n = from; n < to; n++) column->values.push_back(i == 0 ? n : n * n);
    column->buffers[0] = nullptr;
    column->buffers[1] = column->values.data();
    const void **buffers = column->buffers;
    batch->columns[i] = {to - from, 0, 0, 2, 0, buffers, nullptr, nullptr, ReleaseColumn, column.release()};
  }
  Batch *owned = batch.release();
  return {to - from, 0, 0, 1, 2, owned->buffers, owned->pointers, nullptr, ReleaseBatch, owned};
}

struct Stream {
  const Reader *owner;
  int64_t next, end;
  std::string error;
};

// Runs `work` for a stream; what it throws is its last error.
template <typename Work>
int Step(ArrowArrayStream *self, Work work) noexcept {
  auto *stream = static_cast<Stream *>(self->private_data);
  try {
    work(stream);
    return 0;
  } catch (const std::exception &error) {
    try {
      stream->error = error.what();
    } catch (...) {
    }
    return 5;
  }
}

int StreamSchema(ArrowArrayStream *self, ArrowSchema *out) {
  return Step(self, [out](Stream *) { *out = MakeSchema(); });
}

int StreamNext(ArrowArrayStream *self, ArrowArray *out) {
  return Step(self, [out](Stream *stream) {
    *out = {};  // no `release`: the end
    if (stream->owner->cancelled || stream->next >= stream->end) return;
    const int64_t from = stream->next;
    stream->next = std::min(stream->end, from + kBatchRows);
    *out = MakeBatch(from, stream->next);
  });
}

const char *StreamError(ArrowArrayStream *self) { return static_cast<Stream *>(self->private_data)->error.c_str(); }

void StreamRelease(ArrowArrayStream *self) {
  delete static_cast<Stream *>(self->private_data);
  self->release = nullptr;
}

// ---- the reader ----------------------------------------------------------------------------------------------------------

int32_t Create(const char *config, void **out, char **answer) {
  return Answered(answer, [&] {
    const int64_t to = Number(json_member(config, "options"), "to");
    if (to < 0) throw std::invalid_argument("options.to must be a number from 0 up");
    *out = new Reader{to};
  });
}

void Close(void *self) { delete static_cast<Reader *>(self); }

void Cancel(void *self) { static_cast<Reader *>(self)->cancelled = true; }

int32_t Plan(void *self, const char *, const ArrowSchema *, ArrowSchema *schema, char **answer) {
  return Answered(answer, [&] {
    const int64_t to = static_cast<Reader *>(self)->to;
    std::string splits;
    for (int64_t start = 0; start < to; start += kSplitRows) {
      const std::string at = std::to_string(start);
      splits += (start ? ", " : "") + ("{\"id\": \"from " + at + "\", \"payload\": {\"start\": " + at + "}, \"rows\": ") +
                std::to_string(std::min(kSplitRows, to - start)) + "}";
    }
    *answer = Copy("{\"splits\": [" + splits + "]}");
    *schema = MakeSchema();
  });
}

int32_t Read(void *self, const char *split, ArrowArrayStream *out, char **answer) {
  return Answered(answer, [&] {
    const auto *owner = static_cast<const Reader *>(self);
    const int64_t start = Number(json_member(split, "payload"), "start");
    auto *stream = new Stream{owner, start, std::min(owner->to, start + kSplitRows), {}};
    *out = {StreamSchema, StreamNext, StreamError, StreamRelease, stream};
  });
}

void FreeText(char *text) { delete[] text; }

constexpr char kAbout[] = R"({"name": "squares", "version": "0.1.0", "language": "c++", "capabilities": ["splits"],
  "options_schema": {"type": "object", "required": ["to"], "properties": {
    "to": {"type": "integer", "minimum": 0, "maximum": 1000000000, "description": "how many"}}}})";

const dativo_reader kTable = {
    {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof kTable, DATIVO_READER, kAbout, FreeText},
    Create, Close, Read, Cancel, Plan, nullptr, nullptr, nullptr, nullptr,
};

}  // namespace

extern "C" const dativo_plugin *squares(const dativo_host *) { return &kTable.head; }
