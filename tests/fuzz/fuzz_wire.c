/* fuzz_wire.c -- F1: what the preflight lets through is unpacked within its budget, written, and
 * read again; a second round trip gives the same bytes as the first. */
#include "fuzz.h"
#include <assert.h>

static char *write_model(const pai_model *m, size_t *n)
{
	char *bytes = NULL;
	assert(pai_model_write(m, fuzz_path("out.onnx"), NULL) == PAI_OK);
	bytes = fuzz_read(fuzz_path("out.onnx"), n);
	assert(bytes);
	return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pai_ctx *ctx = fuzz_ctx();
	pai_model *m = NULL, *again = NULL;
	if (pai_model_parse(ctx, "fuzz", data, size, &m) == PAI_OK && !m->text) {
		size_t n, n2;
		m->epoch = 1; /* written anew, not copied */
		char *first = write_model(m, &n);
		assert(pai_model_parse(ctx, "fuzz", first, n, &again) == PAI_OK);
		again->epoch = 1;
		char *second = write_model(again, &n2);
		assert(n == n2 && memcmp(first, second, n) == 0);
		free(first);
		free(second);
	}
	pai_model_free(again);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return 0;
}
