/* The contract between Dativo and a plugin in a shared library.
 *
 * A library exports one function for each plugin, of type dativo_entry. A job names it: `reader: path/lib.so:symbol`. It
 * returns a table of functions: dativo_reader, dativo_format or dativo_writer, each of which begins with dativo_plugin.
 * Data crosses as Arrow C data and C streams, control as JSON, errors as JSON.
 *
 * RULES FOR ALL FUNCTIONS
 *
 * Texts are UTF-8 and end with NUL; a NUL inside a value is "\u0000" in JSON. A text that a function is given is the host's
 * and is gone when the function returns. A text that it answers is the library's until the host gives it to `free_text`,
 * which it does once, on any thread.
 *
 * A function that may fail returns DATIVO_OK, or anything else for failed. Either way it may set `*answer`, which is NULL
 * before: to what the comment beside it says, or to the error, a JSON object:
 *   {"kind": "ConnectionError", "error_code": "SHOP_DOWN", "message": "what failed, one sentence, no secret in it",
 *    "hint": "what a person does next", "retryable": true, "details": {"file": "a.csv", "row": 7}}
 * Only "message" is required. kind: ConfigurationError, ConnectionError, AuthenticationError, ValidationError,
 * SchemaMismatchError (with the details "column" and "widen_to"), TransientError, RateLimitError, CancelledError, PluginError
 * (the default). Such an object may also stand inside other text, as {"dativo_error": {...}}: that is how errors get through a
 * library that wraps them. Text that is no JSON is taken as the message of a PluginError.
 *
 * Nothing but a return leaves a function: no exception, no panic, no longjmp, no exit.
 *
 * A reader, sink, writer or split is a pointer of the library's own, which the host hands back and never looks at. The host
 * closes each exactly once, after everything made of it: streams before their reader, splits before their writer. Arrays
 * that came out of a stream live on: their `release` may be called on any thread, at any time, after `close` too.
 *
 * Any thread may call. "At once" below means: on several threads at the same time, for one pointer. What does not say
 * so is called by one thread at a time for one pointer. Different pointers are always used at once. Python's lock is never
 * held. A library stays loaded until the process ends, and a process that forks makes its own readers and writers.
 */
#ifndef DATIVO_PLUGIN_H
#define DATIVO_PLUGIN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From the Arrow specification (https://arrow.apache.org/docs/format/CDataInterface.html), word for word. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
  const char *format;
  const char *name;
  const char *metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema **children;
  struct ArrowSchema *dictionary;
  void (*release)(struct ArrowSchema *);
  void *private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void **buffers;
  struct ArrowArray **children;
  struct ArrowArray *dictionary;
  void (*release)(struct ArrowArray *);
  void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
  int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
  int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
  const char *(*get_last_error)(struct ArrowArrayStream *);
  void (*release)(struct ArrowArrayStream *);
  void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

#define DATIVO_MAGIC 0x56544144u /* the bytes "DATV" where the low one comes first */
#define DATIVO_API_VERSION 1u    /* raised when a library compiled for the older one would break */

#define DATIVO_OK 0
#define DATIVO_FAILED 1

enum dativo_kind { DATIVO_READER = 1, DATIVO_FORMAT = 2, DATIVO_WRITER = 3 };
enum dativo_level { DATIVO_DEBUG = 10, DATIVO_INFO = 20, DATIVO_WARNING = 30, DATIVO_ERROR = 40 };

/* What the host offers; it lives as long as the process. size: of the struct, as the host was compiled. What a host adds
 * later comes at the end: look at `size` before you use it. api_version is the newest that the host takes, oldest_api_version
 * the oldest; where `size` ends before that, it takes api_version alone. */
typedef struct dativo_host {
  uint32_t api_version;
  uint32_t size;
  void *context;
  /* Writes a line to the run's log. Any thread, at once. `text` is yours. Takes Python's lock for a moment: not for rows. */
  void (*log)(void *context, int32_t level, const char *text);
  uint32_t oldest_api_version;
} dativo_host;

/* What every table begins with. It and all that it leads to are constant, and live as long as the process.
 *
 * size: sizeof the whole table, as the library was compiled. Functions are only ever added at the end: one that lies beyond
 * `size` is taken as NULL, so an older library works with a newer host, and the other way round.
 * api_version: of this table. These first fields, and those of dativo_host up to `size`, keep their places in every version. A
 * library that has tables of several versions gives the newest that the host takes, else any: the host then says which
 * side has to be upgraded.
 * about: a JSON object:
 *   name            required: what a person calls the plugin
 *   version         of the plugin; "1.0.0" where it is absent
 *   api_version     [oldest, newest] of the versions that the library has tables for; that of this table where it is absent
 *   language        "c", "rust", "go", ...
 *   options_schema  JSON Schema of the options: an object with "properties". The host checks a job's options by it, at the
 *                   job's line, before the library sees them, and fills in every "default"; an option without one that
 *                   the job leaves out is null. Other options than these are refused.
 *   capabilities    texts for a person: what it does beyond the required
 *   extension       of a format: of its files, without the dot; required there
 *   modes           of a writer: which of "append", "overwrite", "merge" it can do; ["append", "overwrite"] where absent
 *   quarantines     of a writer: whether it takes rejected rows (tasks of kind "quarantine")
 *   needs_path      of a writer: whether a job must give target.path
 *   validated       true where the arrays can't be wrong because a library made them: the host then does not look at
 *                   every offset, null count and text again before it uses them
 */
typedef struct dativo_plugin {
  uint32_t magic;       /* DATIVO_MAGIC */
  uint32_t api_version; /* DATIVO_API_VERSION, or an older one that the host takes */
  uint32_t size;
  uint32_t kind; /* dativo_kind */
  const char *about;
  void (*free_text)(char *text); /* Any thread, at once. */
} dativo_plugin;

/* The exported function. Called before any other, once for each process and symbol. NULL: this host won't do; a table of
 * another version says more. */
typedef const dativo_plugin *(*dativo_entry)(const dativo_host *host);

/* A READER
 *
 * Level 1 is create, close and read; level 2 adds options, check, discover, probe; level 3 adds plan. Functions marked
 * "optional" may be NULL. */
typedef struct dativo_reader {
  dativo_plugin head;

  /* Makes a reader of a source: a JSON object with what the job says under `source` (root, files, tables, objects, query,
   * connection, credentials, incremental) and `options`, checked. connection and credentials may hold secrets: they belong
   * in no error and no log. Must not connect yet. answer: unused. */
  int32_t (*create)(const char *config, void **reader, char **answer);

  /* Frees it. Called where create made one, and for no other. */
  void (*close)(void *reader);

  /* Opens a split, {"id", "payload", "rows", "bytes"}, as plan told it, perhaps in another process; {"id": "all"} where
   * there is no plan. Fills in `*stream`, whose struct is the host's and is not moved; it is released before the reader is
   * closed. At once, for several splits. Each stream is used by one thread at a time. Its get_last_error may give an error
   * in JSON, like an answer, but the text stays the stream's. After an error or the end a stream is only released. Every
   * array has the schema that the stream tells, and at most 2^31 - 1 rows; all streams of a plan have one schema.
   * answer: unused. */
  int32_t (*read)(void *reader, const char *split, struct ArrowArrayStream *stream, char **answer);

  /* Optional. Asks streams and calls under way to end soon, with a CancelledError or as if at their end. Beside every other
   * function but close, at any time, more than once. Between batches the host looks by itself. */
  void (*cancel)(void *reader);

  /* Optional. Divides the source into splits and pins its upper bound, before anything is read. request: {"columns": names
   * or null, "cursor": of the last commit or null, "limit": rows or null, "widen": {column: type}, "parallelism",
   * "memory_bytes", "batch_bytes"}. declared: the contract's columns, or NULL; the host's. schema: of every split; leave it
   * alone where it shows only while reading; filled in, it is the host's to release. answer: {"splits": [{"id": text,
   * "payload": object, "rows", "bytes", "version": where known}], "cursor": object to commit or null, "applied": which of "columns",
   * "schema", "cursor", "limit" the reader does itself, "notes": texts for a person, "unchanged": nothing is new}. */
  int32_t (*plan)(void *reader, const char *request, const struct ArrowSchema *declared, struct ArrowSchema *schema,
                  char **answer);

  /* Optional. Whether the source answers: {"success": bool, "message": text, "error_code", "details"}. */
  int32_t (*check)(void *reader, char **answer);

  /* Optional. What the source offers: {"objects": [{"name": text, "type", "columns", "rows", "bytes"}], "metadata"}. */
  int32_t (*discover)(void *reader, char **answer);

  /* Optional. cursor: of the last commit, or null. A JSON text that changes whenever something is new; null: nothing is.
   * Every few seconds. Without it a plan is made and its splits are looked at. */
  int32_t (*probe)(void *reader, const char *cursor, char **answer);

  /* Optional. Once, after the end of a stream and before its release: {"bad_rows": left out, and what else was counted}. */
  int32_t (*metrics)(void *reader, struct ArrowArrayStream *stream, char **answer);
} dativo_reader;

/* A FORMAT: a writer of levels 1 and 2. It writes one file at a path; staging, partitions, the commit of many files in one
 * step and the quarantine are the host's. */
typedef struct dativo_format {
  dativo_plugin head;

  /* Creates the file, which does not exist, for rows of a schema; the schema is the host's. options: checked. context:
   * {"parallelism": threads granted, "memory_bytes": budget for what is held back}. answer: unused. */
  int32_t (*create)(const char *path, const struct ArrowSchema *schema, const char *options, const char *context,
                    void **sink, char **answer);

  /* Frees a sink. One that was not finished is given up, and its file removed. */
  void (*close)(void *sink);

  /* Adds the rows of a struct array, one child a column. The array is the host's, unless you move it out (copy the struct and
   * set `release` in the original to NULL). answer: unused. */
  int32_t (*write)(void *sink, struct ArrowArray *batch, char **answer);

  /* Completes the file. answer: {"rows": in it}, and what else is worth to be kept in the commit. */
  int32_t (*finish)(void *sink, char **answer);

  /* Optional. As a reader's. */
  void (*cancel)(void *sink);

  /* Optional. The file's size so far, with what is held back. */
  int64_t (*bytes_written)(void *sink);
} dativo_format;

/* A WRITER of level 3: it does its own commit, in one compare-and-swap of the target from one sequence to the next.
 *
 * A commit is a JSON object: {"job", "stream", "seq", "run_id", "mode", "cursor", "schema_hash", "schema_text", "rows_read",
 * "rows_written", "rows_rejected", "bytes_written", "files", "quarantine", "committed_at", "plugins", "details",
 * "format_version"}. The writer keeps it as it is, with the data, and gives it back. */
typedef struct dativo_writer {
  dativo_plugin head;

  /* Makes a writer: {"asset": {"name", "columns"}, "target": what the job says under `target` (root, path, table, mode,
   * keys, partition_by, connection, credentials) and `options`, checked}. As a reader's create. */
  int32_t (*create)(const char *config, void **writer, char **answer);

  /* Frees it. */
  void (*close)(void *writer);

  /* The newest commit of the target, or null where there is none. */
  int32_t (*last_commit)(void *writer, char **answer);

  /* Prepares one run: {"job", "run_id", "base_seq": what last_commit had, 0 for none, "mode", "stream", "keys",
   * "partition_by", "parallelism", "memory_bytes", "cursor_field", "full_refresh"}. schema: of the rows; the host's. Removes
   * what dead runs left. answer: unused. */
  int32_t (*open)(void *writer, const char *request, const struct ArrowSchema *schema, char **answer);

  /* A split writer for one worker: {"index", "kind": "data" or "quarantine"}. schema: of its rows; the host's. At once.
   * answer: unused. */
  int32_t (*split)(void *writer, const char *task, const struct ArrowSchema *schema, void **split, char **answer);

  /* Frees a split writer. What it did not finish is dropped. */
  void (*split_close)(void *split);

  /* As a format's write. */
  int32_t (*write)(void *split, struct ArrowArray *batch, char **answer);

  /* Makes what was written durable; nothing is visible yet. answer: [{"kind": "data" or "quarantine", "rows", "bytes",
   * "payload": object}], which commit gets. */
  int32_t (*finish)(void *split, char **answer);

  /* From commit.seq - 1 to commit.seq, data and record in one step. committables: an array of what finish answered; empty:
   * the record alone. answer: the commit as it is kept. error: kind CommitConflictError where another run has that sequence;
   * a retryable one where it may or may not have happened: the host then asks last_commit. */
  int32_t (*commit)(void *writer, const char *committables, const char *commit, char **answer);

  /* Removes what this run has staged; more than once. */
  void (*abort)(void *writer);

  /* Optional. As a reader's, for a writer and all its splits. */
  void (*cancel)(void *writer);

  /* Optional. As a reader's. */
  int32_t (*check)(void *writer, char **answer);

  /* Optional. The commits that can still be seen, oldest first, as an array. */
  int32_t (*history)(void *writer, char **answer);

  /* Optional. The table as committed, for jobs that read it: {"seq", "uri", "format": "parquet", "files": absolute paths,
   * "rows", "bytes"}, or null. */
  int32_t (*snapshot)(void *writer, char **answer);
} dativo_writer;

#ifdef __cplusplus
}
#endif

#endif /* DATIVO_PLUGIN_H */
