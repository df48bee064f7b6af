/* npy.c -- data sets in numpy's .npy: one field without a name. */
#include "runtime/runtime.h"
#include <string.h>

static bool matches(const char *path, const uint8_t *head, size_t n)
{
	(void)path;
	return n >= 6 && memcmp(head, "\x93NUMPY", 6) == 0;
}

static pai_status read_set(pai_ctx *ctx, const char *path, pai_dataset *out)
{
	pai_file f;
	pai_tensor *t;
	PAI_TRY(pai_file_open(ctx, out->arena, path, &f));
	PAI_TRY(pai_npy_parse(ctx, out->arena, path, f.data, f.size, &t));
	pai_dataset_add(out, "", t);
	return PAI_OK;
}

const pai_reader pai_reader_npy = {
	.name = "npy",
	.summary = "numpy array: the only input of a model",
	.matches = matches,
	.read = read_set,
};
