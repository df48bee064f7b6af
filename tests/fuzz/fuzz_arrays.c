/* fuzz_arrays.c -- numpy's files, IDX and tensors of ONNX: whatever the bytes look like to each of
 * the readers. */
#include "fuzz.h"
#include "runtime/runtime.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"in.npz", "in.npy", "in.idx3", "in.csv"};
	pai_ctx *ctx = fuzz_ctx();
	pai_arena *a = pai_arena_new(ctx);
	pai_tensor *t, **list;
	pai_dataset *set;
	int n;
	(void)!pai_tensor_parse(ctx, a, "fuzz", data, size, &t);
	(void)!pai_npy_parse(ctx, a, "fuzz", data, size, &t);
	(void)!pai_npz_parse(ctx, a, "fuzz", data, size, &list, &n);
	const char *path = fuzz_path(names[size % (sizeof names / sizeof *names)]);
	fuzz_write(path, data, size);
	if (pai_dataset_open(ctx, path, &set) == PAI_OK)
		pai_dataset_free(set);
	pai_arena_free(a);
	pai_ctx_free(ctx);
	return 0;
}
