/* A reader with the older JSON symbols: each line of the first of the source's files is a batch. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

FILE *create_reader(const char *config) {
    const char *start = strstr(config, "\"files\": [\"");
    if (!start) return NULL;
    char *path = strdup(start + 11);
    *strchr(path, '"') = 0;
    FILE *file = fopen(path, "r");
    if (!file) perror(path);
    free(path);
    return file;
}

char *extract_batch(FILE *file) {
    char *line = NULL;
    size_t size = 0;
    if (getline(&line, &size, file) >= 0) return line;
    free(line);
    return NULL;
}

void free_reader(FILE *file) { fclose(file); }
void free_string(char *text) { free(text); }
