/* fuzz.h -- what the fuzz targets share. Each is one function; with PAI_FUZZ it becomes a program
 * of libFuzzer's, and in every build one that replays the files it is given (replay.c). */
#ifndef PAI_FUZZ_H
#define PAI_FUZZ_H

#include "compiler/compiler.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_text {
	char *at;
	size_t n;
} fuzz_text;

/* A context whose limits keep one input short. */
static inline pai_ctx *fuzz_ctx(void)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	ctx->threads = 1;
	ctx->durable = false;
	ctx->limits.run_work = 20000000;
	ctx->limits.run_bytes = 16 << 20;
	ctx->limits.decoder_bytes = 64 << 20;
	return ctx;
}

/* A file in a folder of this process; valid until the next call. */
static inline const char *fuzz_path(const char *name)
{
	static char folder[] = "/tmp/pai-fuzz-XXXXXX", path[64];
	static bool made;
	if (!made && !mkdtemp(folder))
		abort();
	made = true;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static inline char *fuzz_read(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	if (!f || fseek(f, 0, SEEK_END))
		return NULL;
	*n = (size_t)ftell(f);
	rewind(f);
	char *bytes = malloc(*n + 1);
	if (bytes && fread(bytes, 1, *n, f) != *n)
		abort();
	fclose(f);
	return bytes;
}

static inline void fuzz_write(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(bytes, 1, n, f) != n || fclose(f))
		abort();
}

#endif
