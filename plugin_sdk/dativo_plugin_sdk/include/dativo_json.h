/* A look into the JSON that a host gives, which is well formed, for plugins that need a number or two of it. No part of the
 * contract: for more, take a library such as yyjson. */
#ifndef DATIVO_JSON_H
#define DATIVO_JSON_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The first character after a value. */
static inline const char *json_skip(const char *at) {
  int depth = 0;
  do {
    if (*at == '"') {
      for (at++; *at != '\0' && *at != '"'; at++)
        if (*at == '\\' && at[1] != '\0') at++;
    } else if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      depth--;
    } else if (depth == 0) {
      return at + strcspn(at, ",}] \n\t\r"); /* a number or a word */
    }
    if (*at != '\0') at++;
  } while (depth > 0 && *at != '\0');
  return at;
}

/* The value of an object's member; NULL where there is no such member or no object. */
static inline const char *json_member(const char *object, const char *name) {
  size_t length = strlen(name);
  if (object == NULL || *object != '{') return NULL;
  for (const char *at = object + 1;;) {
    at += strspn(at, ", \n\t\r");
    if (*at != '"') return NULL;
    const char *key = at + 1;
    at = json_skip(at);
    int found = (size_t)(at - key) == length + 1 && strncmp(key, name, length) == 0;
    at += strspn(at, ": \n\t\r");
    if (found) return at;
    at = json_skip(at);
  }
}

/* Whether a value is a whole number. */
static inline int json_int(const char *value, int64_t *out) {
  char *end;
  if (value == NULL || strchr("-0123456789", *value) == NULL) return 0;
  errno = 0;
  *out = strtoll(value, &end, 10);
  return errno == 0 && strchr(",}] \n\t\r", *end) != NULL;
}

#endif
