/* A reader of the lines of files, of this machine or wherever the host can read: its log and its files in use. */

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dativo_json.h"
#include "dativo_plugin.h"

#define BLOCK_BYTES (1 << 20)

static const dativo_host *HOST; /* lives as long as the process */

typedef struct {
  char *config;
  char *storage; /* what the host's open is told; NULL where it lends no files */
  volatile int cancelled;
} reader;

typedef struct {
  const reader *owner;
  const char *files; /* what is left of the config's */
  FILE *local;
  void *remote;
  uint64_t at, size; /* of the remote file, in bytes */
  char *block;       /* what was read and is not yet in a batch */
  size_t used;
  char *error;
} stream;

static char *copy_of(const char *text) {
  char *made = malloc(strlen(text) + 1);
  return made == NULL ? NULL : strcpy(made, text);
}

/* ---- a file, here or elsewhere: each returns whether it went well, and leaves the error in the stream ---------------- */

static int refuse(stream *at, const char *kind, const char *message) {
  const char *form = "{\"kind\": \"%s\", \"message\": \"%s\"}";
  at->error = malloc(strlen(form) + strlen(kind) + strlen(message));
  if (at->error != NULL) sprintf(at->error, form, kind, message);
  return 0;
}

/* What the host told is an error as ours are: it goes on as it is. */
static int refuse_as_host(stream *at, char *answer) {
  at->error = copy_of(answer != NULL ? answer : "the host told no reason");
  if (answer != NULL) HOST->free_text(HOST->context, answer);
  return 0;
}

static int open_file(stream *at, const char *path) {
  char *answer = NULL;
  if (strstr(path, "://") == NULL) {
    at->local = fopen(path, "rb");
    return at->local != NULL || refuse(at, "ConnectionError", "a file can't be opened");
  }
  if (at->owner->storage == NULL || HOST->size <= offsetof(dativo_host, free_text) || HOST->open == NULL)
    return refuse(at, "ConfigurationError", "this host lends no files by URI");
  if (HOST->open(HOST->context, at->owner->storage, path, &at->remote, &at->size, &answer) != DATIVO_OK)
    return refuse_as_host(at, answer);
  at->at = 0;
  return 1;
}

/* Up to BLOCK_BYTES more behind what is there; none at the end of the file. */
static int read_file(stream *at, size_t *bytes) {
  char *into = at->block + at->used, *answer = NULL;
  if (at->local != NULL) {
    *bytes = fread(into, 1, BLOCK_BYTES, at->local);
    return !ferror(at->local) || refuse(at, "TransientError", "a file can't be read");
  }
  uint64_t end = at->size - at->at < BLOCK_BYTES ? at->size : at->at + BLOCK_BYTES;
  uint64_t ahead = at->size - end < BLOCK_BYTES ? at->size : end + BLOCK_BYTES; /* fetched while we work */
  *bytes = (size_t)(end - at->at);
  if (*bytes > 0 &&
      HOST->read(HOST->context, at->remote, at->at, end, ahead, (uint8_t *)into, &answer) != DATIVO_OK)
    return refuse_as_host(at, answer);
  at->at = end;
  return 1;
}

static void close_file(stream *at) {
  if (at->local != NULL) fclose(at->local);
  if (at->remote != NULL) HOST->close(HOST->context, at->remote);
  at->local = NULL;
  at->remote = NULL;
}

/* ---- the rows, as Arrow: a struct array with one child, of strings --------------------------------------------------- */

static void release_schema(struct ArrowSchema *schema) {
  for (int64_t i = 0; i < schema->n_children; i++) {
    schema->children[i]->release(schema->children[i]);
    free(schema->children[i]);
  }
  free(schema->children);
  schema->release = NULL;
}

static int stream_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  struct ArrowSchema *child = calloc(1, sizeof *child), **children = calloc(1, sizeof *children);
  (void)self;
  if (child == NULL || children == NULL) {
    free(child);
    free(children);
    return 1;
  }
  *child = (struct ArrowSchema){.format = "u", .name = "line", .release = release_schema};
  children[0] = child;
  *out = (struct ArrowSchema){.format = "+s", .n_children = 1, .children = children, .release = release_schema};
  return 0;
}

static void release_array(struct ArrowArray *array) {
  for (int64_t i = 0; i < array->n_children; i++) {
    array->children[i]->release(array->children[i]);
    free(array->children[i]);
  }
  for (int64_t i = 0; i < array->n_buffers; i++) free((void *)array->buffers[i]);
  free(array->children);
  free(array->buffers);
  array->release = NULL;
}

/* The lines in the first `bytes` of the block, the last of which may lack its line feed. Takes the texts. */
static int make_batch(struct ArrowArray *batch, char *texts, size_t bytes) {
  int64_t rows = 0;
  size_t used = 0;
  for (size_t i = 0; i < bytes; i++) rows += texts[i] == '\n' || i + 1 == bytes;
  int32_t *offsets = malloc(((size_t)rows + 1) * sizeof *offsets);
  struct ArrowArray *child = calloc(1, sizeof *child), **children = calloc(1, sizeof *children);
  const void **buffers = calloc(1, sizeof *buffers), **inner = calloc(3, sizeof *inner);
  if (offsets == NULL || child == NULL || children == NULL || buffers == NULL || inner == NULL) {
    free(offsets);
    free(child);
    free(children);
    free(buffers);
    free(inner);
    free(texts);
    return 1;
  }
  rows = 0;
  offsets[0] = 0;
  for (size_t i = 0; i < bytes; i++) {
    if (texts[i] != '\n') texts[used++] = texts[i];
    if (texts[i] == '\n' || i + 1 == bytes) offsets[++rows] = (int32_t)used;
  }
  inner[1] = offsets;
  inner[2] = texts;
  *child = (struct ArrowArray){.length = rows, .n_buffers = 3, .buffers = inner, .release = release_array};
  children[0] = child;
  *batch = (struct ArrowArray){
      .length = rows, .n_buffers = 1, .buffers = buffers, .n_children = 1, .children = children, .release = release_array};
  return 0;
}

/* ---- a stream: all files, one after the other ------------------------------------------------------------------------ */

/* A batch of the lines that are whole; where `whole` is not set, of what is left. */
static int take_lines(stream *at, struct ArrowArray *out, int whole) {
  size_t bytes = at->used;
  while (whole && bytes > 0 && at->block[bytes - 1] != '\n') bytes--;
  if (bytes == 0) return 0;
  char *rest = malloc(at->used - bytes + BLOCK_BYTES);
  if (rest == NULL) return 1;
  memcpy(rest, at->block + bytes, at->used - bytes);
  char *texts = at->block;
  at->block = rest;
  at->used -= bytes;
  return make_batch(out, texts, bytes);
}

static int stream_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  stream *at = self->private_data;
  memset(out, 0, sizeof *out); /* not set `release`: the end */
  while (out->release == NULL && !at->owner->cancelled) {
    if (at->local == NULL && at->remote == NULL) {
      char *path = json_text(at->files);
      if (path == NULL) return 0;
      int is_open = open_file(at, path);
      free(path);
      if (!is_open) return 1;
      at->files = json_next(at->files);
    }
    size_t bytes;
    char *grown = realloc(at->block, at->used + BLOCK_BYTES);
    if (grown == NULL) return 1;
    at->block = grown;
    if (!read_file(at, &bytes)) return 1;
    at->used += bytes;
    if (at->used > INT32_MAX - BLOCK_BYTES) return 1 - refuse(at, "ValidationError", "a line is longer than 2 GiB");
    if (bytes == 0) close_file(at);
    if (take_lines(at, out, bytes > 0)) return 1;
  }
  return 0;
}

static const char *stream_error(struct ArrowArrayStream *self) {
  const stream *at = self->private_data;
  return at->error != NULL ? at->error : "there is no memory left";
}

static void stream_release(struct ArrowArrayStream *self) {
  stream *at = self->private_data;
  close_file(at);
  free(at->block);
  free(at->error);
  free(at);
  self->release = NULL;
}

/* ---- the reader ------------------------------------------------------------------------------------------------------ */

static void reader_close(void *self) {
  reader *made = self;
  free(made->config);
  free(made->storage);
  free(made);
}

static int32_t reader_create(const char *config, void **out, char **answer) {
  reader *made = calloc(1, sizeof *made);
  if (made == NULL || (made->config = copy_of(config)) == NULL) {
    free(made);
    *answer = copy_of("there is no memory left");
    return DATIVO_FAILED;
  }
  made->storage = json_text(json_member(config, "storage"));
  *out = made;
  return DATIVO_OK;
}

static void reader_cancel(void *self) { ((reader *)self)->cancelled = 1; }

static int32_t reader_read(void *self, const char *split, struct ArrowArrayStream *out, char **answer) {
  const reader *owner = self;
  char line[64];
  int files = 0;
  (void)split;
  stream *at = calloc(1, sizeof *at);
  if (at == NULL) {
    *answer = copy_of("there is no memory left");
    return DATIVO_FAILED;
  }
  at->owner = owner;
  at->files = json_first(json_member(owner->config, "files"));
  for (const char *file = at->files; file != NULL; file = json_next(file)) files++;
  snprintf(line, sizeof line, "reads the lines of %d files", files);
  HOST->log(HOST->context, DATIVO_INFO, line);
  *out = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, at};
  return DATIVO_OK;
}

static void free_text(char *text) { free(text); }

static const dativo_reader TABLE = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof TABLE, DATIVO_READER,
             "{\"name\": \"lines\", \"version\": \"0.1.0\", \"language\": \"c\", \"files\": true,"
             " \"options_schema\": {\"type\": \"object\", \"properties\": {}}}",
             free_text},
    .create = reader_create,
    .close = reader_close,
    .read = reader_read,
    .cancel = reader_cancel,
};

const dativo_plugin *lines(const dativo_host *host) {
  HOST = host;
  return &TABLE.head;
}
