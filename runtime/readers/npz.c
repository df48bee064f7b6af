/* npz.c -- data sets in numpy's .npz: one field an array. */
#include "runtime/runtime.h"
#include <string.h>

static bool matches(const char *path, const uint8_t *head, size_t n)
{
	(void)path;
	return n >= 4 && (memcmp(head, "PK\3\4", 4) == 0 || memcmp(head, "PK\5\6", 4) == 0);
}

static pai_status read_set(pai_ctx *ctx, const char *path, pai_dataset *out)
{
	pai_file f;
	pai_tensor **t;
	int n;
	PAI_TRY(pai_file_open(ctx, out->arena, path, &f));
	PAI_TRY(pai_npz_parse(ctx, out->arena, path, f.data, f.size, &t, &n));
	for (int i = 0; i < n; i++)
		pai_dataset_add(out, t[i]->name, t[i]);
	return PAI_OK;
}

const pai_reader pai_reader_npz = {
	.name = "npz",
	.summary = "numpy archive: keys are the model's inputs and the label",
	.matches = matches,
	.read = read_set,
};
