/* A writer that does its own commit, into this process's memory: it keeps records and counts rows. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dativo_json.h"
#include "dativo_plugin.h"

#define MOST 64

typedef struct {
  char *key, *commits[MOST];
  int64_t seq, rows;
} table;

typedef struct {
  table *target;
} writer;

typedef struct {
  int64_t rows;
  int quarantine, moves;
} split;

static table tables[1024];
static int alive;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int left_behind(void) { return alive; }

static char *text_of(const char *from, size_t length) {
  char *made = calloc(length + 1, 1);
  return memcpy(made, from, length);
}

static char *answer_of(const char *text) {
  alive++;
  return text_of(text, strlen(text));
}

static void free_text(char *text) {
  alive--;
  free(text);
}

static char *member_text(const char *object, const char *name) {
  const char *value = json_member(object, name);
  return value ? text_of(value, (size_t)(json_skip(value) - value)) : text_of("", 0);
}

static table *table_of(const char *target) {
  char *root = member_text(target, "root"), *path = member_text(target, "path"), *key = calloc(4096, 1);
  table *found = tables;
  snprintf(key, 4096, "%s %s", root, path);
  while (found->key && strcmp(found->key, key) != 0) found++;
  if (found->key)
    free(key);
  else
    found->key = key;
  free(root);
  free(path);
  return found;
}

static int32_t create(const char *config, void **out, char **answer) {
  writer *made = calloc(1, sizeof *made);
  (void)answer;
  pthread_mutex_lock(&lock);
  made->target = table_of(json_member(config, "target"));
  pthread_mutex_unlock(&lock);
  alive++;
  *out = made;
  return DATIVO_OK;
}

static void end(void *made) {
  free(made);
  alive--;
}

static int32_t last_commit(void *self, char **answer) {
  const table *target = ((writer *)self)->target;
  *answer = answer_of(target->seq ? target->commits[target->seq - 1] : "null");
  return DATIVO_OK;
}

static int32_t history(void *self, char **answer) {
  const table *target = ((writer *)self)->target;
  char *text = calloc(1 << 20, 1);
  alive++;
  strcat(text, "[");
  for (int64_t i = 0; i < target->seq; i++) {
    if (i) strcat(text, ", ");
    strcat(text, target->commits[i]);
  }
  *answer = strcat(text, "]");
  return DATIVO_OK;
}

static int32_t open_run(void *self, const char *request, const struct ArrowSchema *schema, char **answer) {
  int64_t base;
  if (strstr(((writer *)self)->target->key, "forbidden")) {
    *answer = answer_of("{\"kind\": \"ConfigurationError\", \"message\": \"this table is forbidden\"}");
    return DATIVO_FAILED;
  }
  return schema == NULL || strcmp(schema->format, "+s") != 0 || !json_int(json_member(request, "base_seq"), &base);
}

static int32_t make_split(void *self, const char *task, const struct ArrowSchema *schema, void **out, char **answer) {
  split *made = calloc(1, sizeof *made);
  char *kind = member_text(task, "kind");
  (void)self;
  (void)schema;
  (void)answer;
  made->quarantine = strcmp(kind, "\"quarantine\"") == 0;
  free(kind);
  alive++;
  *out = made;
  return DATIVO_OK;
}

static int32_t write_rows(void *self, struct ArrowArray *batch, char **answer) {
  split *to = self;
  (void)answer;
  to->rows += batch->length;
  if (to->moves++ % 2) { /* every other array becomes ours, as the header allows */
    struct ArrowArray own = *batch;
    batch->release = NULL;
    own.release(&own);
  }
  return DATIVO_OK;
}

static int32_t finish(void *self, char **answer) {
  const split *done = self;
  char text[128];
  snprintf(text, sizeof text, "[{\"kind\": \"%s\", \"rows\": %lld, \"bytes\": 0, \"payload\": {\"from\": \"c\"}}]",
           done->quarantine ? "quarantine" : "data", (long long)done->rows);
  *answer = answer_of(text);
  return DATIVO_OK;
}

static int same(const char *left, const char *right, const char *name) {
  char *a = member_text(left, name), *b = member_text(right, name);
  int equal = strcmp(a, b) == 0;
  free(a);
  free(b);
  return equal;
}

static int32_t commit(void *self, const char *committables, const char *record, char **answer) {
  table *target = ((writer *)self)->target;
  int32_t status = DATIVO_OK;
  int64_t seq = 0, rows = 0, one;
  char *mode = member_text(record, "mode");
  json_int(json_member(record, "seq"), &seq);
  for (const char *at = committables + 1; *at == '{' || *at == ',' || *at == ' '; at = *at == '{' ? json_skip(at) : at + 1)
    if (*at == '{' && strncmp(json_member(at, "kind"), "\"data\"", 6) == 0 && json_int(json_member(at, "rows"), &one))
      rows += one;
  pthread_mutex_lock(&lock);
  if (target->seq == seq && seq > 0 && same(target->commits[seq - 1], record, "run_id")) {
    *answer = answer_of(target->commits[seq - 1]);
  } else if (target->seq != seq - 1 || seq > MOST) {
    *answer = answer_of("{\"kind\": \"CommitConflictError\", \"message\": \"another run was faster\"}");
    status = DATIVO_FAILED;
  } else {
    target->commits[target->seq++] = text_of(record, strlen(record));
    target->rows = strcmp(mode, "\"overwrite\"") == 0 ? rows : target->rows + rows;
    *answer = answer_of(record);
  }
  pthread_mutex_unlock(&lock);
  free(mode);
  return status;
}

static void nothing(void *self) { (void)self; }

static int32_t snapshot(void *self, char **answer) {
  const table *target = ((writer *)self)->target;
  char text[160];
  snprintf(text, sizeof text,
           "{\"seq\": %lld, \"uri\": \"memory:\", \"format\": \"memory\", \"files\": [], \"rows\": %lld, \"bytes\": 0}",
           (long long)target->seq, (long long)target->rows);
  *answer = answer_of(target->seq ? text : "null");
  return DATIVO_OK;
}

#define TABLE(symbol, about)                                                                                        \
  static const dativo_writer symbol##_table = {                                                                     \
      {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof(dativo_writer), DATIVO_WRITER, about, free_text},                   \
      create, end, last_commit, open_run, make_split, end, write_rows, finish, commit, nothing, nothing, NULL, history, \
      snapshot};                                                                                                    \
  const dativo_plugin *symbol(const dativo_host *host) { return host ? &symbol##_table.head : NULL; }

TABLE(memory, "{\"name\": \"memory\", \"language\": \"c\", \"needs_path\": true}")
TABLE(merging, "{\"name\": \"merging\", \"modes\": [\"merge\"], \"quarantines\": true}")
TABLE(odd_mode, "{\"name\": \"odd\", \"modes\": [\"upsert\"]}")
