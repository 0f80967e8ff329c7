/* A file format: rows as lines of JSON. Where a file lies, and when it becomes visible, is the host's business. */

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dativo_plugin.h"

typedef struct {
  char *name, *format; /* as Arrow has it: "l" is int64, "u" is text, ... */
} column;

typedef struct {
  FILE *file;
  char *path;
  column *columns;
  int64_t n_columns, rows;
} sink;

/* An error for `*answer`. Quotes and backslashes in the message become spaces: names and paths come from anywhere. */
static int32_t fail(char **answer, const char *kind, const char *what, const char *about, const char *hint) {
  const char *form = "{\"kind\": \"%s\", \"message\": \"%s: %s\", \"hint\": \"%s\"}";
  char *known = malloc(strlen(about) + 1), *text;
  size_t size = strlen(form) + strlen(kind) + strlen(what) + strlen(about) + strlen(hint);
  if (known != NULL) {
    strcpy(known, about);
    for (char *at = known; *at != '\0'; at++)
      if (*at == '"' || *at == '\\' || (unsigned char)*at < 32) *at = ' ';
  }
  text = malloc(size);
  if (text != NULL) snprintf(text, size, form, kind, what, known ? known : "", hint);
  free(known);
  *answer = text;
  return DATIVO_FAILED;
}

static char *copy(const char *text) {
  char *made = malloc(strlen(text) + 1);
  return made == NULL ? NULL : strcpy(made, text);
}

/* Frees a sink; what was not finished is removed. */
static void sink_close(void *self) {
  sink *to = self;
  if (to->file != NULL) {
    fclose(to->file);
    remove(to->path);
  }
  for (int64_t i = 0; i < to->n_columns; i++) {
    free(to->columns[i].name);
    free(to->columns[i].format);
  }
  free(to->columns);
  free(to->path);
  free(to);
}

static int is_known(const char *format) {
  return strcmp(format, "l") == 0 || strcmp(format, "g") == 0 || strcmp(format, "u") == 0 || strcmp(format, "b") == 0 ||
         strcmp(format, "tsu:") == 0;
}

static int32_t sink_create(const char *path, const struct ArrowSchema *schema, const char *options, const char *context,
                           void **out, char **answer) {
  sink *made = calloc(1, sizeof *made);
  (void)options;
  (void)context;
  if (made == NULL || (made->path = copy(path)) == NULL ||
      (made->columns = calloc((size_t)schema->n_children + 1, sizeof *made->columns)) == NULL) {
    if (made != NULL) sink_close(made);
    return fail(answer, "TransientError", "no memory for", path, "try again");
  }
  for (; made->n_columns < schema->n_children; made->n_columns++) {
    const struct ArrowSchema *child = schema->children[made->n_columns];
    column *one = &made->columns[made->n_columns];
    if (!is_known(child->format) || child->dictionary != NULL) {
      int32_t status = fail(answer, "ConfigurationError", "lines of JSON can't hold the type of column", child->name,
                            "declare it as string, int64, double, bool or timestamp[us] in the job's schema");
      sink_close(made);
      return status;
    }
    one->name = copy(child->name);
    one->format = copy(child->format);
  }
  made->file = fopen(path, "wbx");
  if (made->file == NULL) {
    int32_t status = fail(answer, "ConnectionError", strerror(errno), path, "look at the folder it lies in");
    sink_close(made);
    return status;
  }
  *out = made;
  return DATIVO_OK;
}

static void put_text(FILE *file, const char *text, size_t length) {
  fputc('"', file);
  for (size_t i = 0; i < length; i++) {
    unsigned char byte = (unsigned char)text[i];
    if (byte == '"' || byte == '\\') fputc('\\', file);
    if (byte < 32)
      fprintf(file, "\\u%04x", byte);
    else
      fputc(byte, file);
  }
  fputc('"', file);
}

/* Microseconds since 1970 as ISO 8601; the days' arithmetic is that of the proleptic Gregorian calendar. */
static void put_time(FILE *file, int64_t value) {
  const int64_t day_us = 86400000000;
  int64_t days = value / day_us - (value % day_us < 0), us = value - days * day_us;
  int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153, day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
  long long year = (long long)(yoe + era * 400 + (month <= 2)), s = us / 1000000;
  fprintf(file, "\"%04lld-%02d-%02dT%02lld:%02lld:%02lld.%06lld\"", year, (int)month, (int)day, s / 3600, s / 60 % 60,
          s % 60, (long long)(us % 1000000));
}

static int bit(const void *bits, int64_t at) { return ((const uint8_t *)bits)[at / 8] >> (at % 8) & 1; }

/* Writes the value in a row; returns whether JSON can hold it. */
static int put_value(FILE *file, const char *format, const struct ArrowArray *array, int64_t row) {
  int64_t at = array->offset + row;
  const void *values = array->buffers[1];
  if (array->buffers[0] != NULL && !bit(array->buffers[0], at)) {
    fputs("null", file);
  } else if (*format == 'l') {
    fprintf(file, "%lld", (long long)((const int64_t *)values)[at]);
  } else if (*format == 'g') {
    double value = ((const double *)values)[at];
    if (!isfinite(value)) return 0;
    fprintf(file, "%.17g", value);
  } else if (*format == 'b') {
    fputs(bit(values, at) ? "true" : "false", file);
  } else if (*format == 'u') {
    const int32_t *offsets = values;
    put_text(file, (const char *)array->buffers[2] + offsets[at], (size_t)(offsets[at + 1] - offsets[at]));
  } else {
    put_time(file, ((const int64_t *)values)[at]);
  }
  return 1;
}

static int32_t sink_write(void *self, struct ArrowArray *batch, char **answer) {
  sink *to = self;
  for (int64_t row = 0; row < batch->length; row++) {
    for (int64_t i = 0; i < to->n_columns; i++) {
      fputs(i == 0 ? "{" : ", ", to->file);
      put_text(to->file, to->columns[i].name, strlen(to->columns[i].name));
      fputs(": ", to->file);
      if (!put_value(to->file, to->columns[i].format, batch->children[i], batch->offset + row))
        return fail(answer, "ValidationError", "a value is not finite, in column", to->columns[i].name, "leave it out");
    }
    fputs(to->n_columns == 0 ? "{}\n" : "}\n", to->file);
    to->rows++;
  }
  if (ferror(to->file)) return fail(answer, "ConnectionError", strerror(errno), to->path, "free some space");
  return DATIVO_OK;
}

static int32_t sink_finish(void *self, char **answer) {
  sink *to = self;
  int failed = ferror(to->file);
  if (fclose(to->file) != 0 || failed) {
    to->file = NULL;
    remove(to->path);
    return fail(answer, "ConnectionError", strerror(errno), to->path, "free some space");
  }
  to->file = NULL;
  *answer = malloc(48);
  if (*answer != NULL) snprintf(*answer, 48, "{\"rows\": %lld}", (long long)to->rows);
  return DATIVO_OK;
}

static void free_text(char *text) { free(text); }

static const dativo_format TABLE = {
    .head = {DATIVO_MAGIC, DATIVO_API_VERSION, sizeof TABLE, DATIVO_FORMAT,
             "{\"name\": \"lines\", \"version\": \"0.1.0\", \"language\": \"c\", \"extension\": \"jsonl\"}", free_text},
    .create = sink_create,
    .close = sink_close,
    .write = sink_write,
    .finish = sink_finish,
};

const dativo_plugin *lines(const dativo_host *host) {
  (void)host;
  return &TABLE.head;
}
