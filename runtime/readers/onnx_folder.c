/* onnx_folder.c -- tensors as the ONNX test suite keeps them: a folder of input_0.pb, input_1.pb,
 * ..., output_0.pb, ...; or a folder with one such folder, test_data_set_0. A field has the name
 * its tensor has, else that of its file. */
#include "runtime/runtime.h"
#include <string.h>
#include <sys/stat.h>

static bool is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

static bool matches(const char *path, const uint8_t *head, size_t n)
{
	(void)n;
	return !head && is_folder(path);
}

static pai_status read_kind(pai_ctx *ctx, const char *folder, const char *kind, pai_dataset *out)
{
	for (int k = 0;; k++) {
		const char *name = pai_arena_printf(out->arena, "%s_%d", kind, k);
		const char *path = pai_arena_printf(out->arena, "%s/%s.pb", folder, name);
		if (!exists(path))
			return PAI_OK;
		pai_file f;
		pai_tensor *t;
		PAI_TRY(pai_file_open(ctx, out->arena, path, &f));
		PAI_TRY(pai_tensor_parse(ctx, out->arena, path, f.data, f.size, &t));
		pai_dataset_add(out, t->name && *t->name ? t->name : name, t);
	}
}

static pai_status read_set(pai_ctx *ctx, const char *path, pai_dataset *out)
{
	const char *inner = pai_arena_printf(out->arena, "%s/test_data_set_0", path);
	const char *folder = is_folder(inner) ? inner : path;
	PAI_TRY(read_kind(ctx, folder, "input", out));
	PAI_TRY(read_kind(ctx, folder, "output", out));
	if (!out->n_fields)
		return pai_fail(ctx, PAI_E_no_reader, pai_at_file(path),
				"the folder has no input_0.pb");
	return PAI_OK;
}

const pai_reader pai_reader_onnx_folder = {
	.name = "onnx-folder",
	.summary = "folder of the ONNX test suite: input_0.pb, ..., output_0.pb, ...",
	.matches = matches,
	.read = read_set,
};
