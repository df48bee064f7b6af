/* fuzz_pipeline.c -- F3: load, infer, verify, the default passes, one run of the result. A pass may
 * not break a model that verifies; nothing may take more than its budget. */
#include "fuzz.h"
#include "passes/passes.h"
#include <assert.h>

static void execute(pai_ctx *ctx, pai_arena *a, const pai_model *m)
{
	const pai_tensor **in, **out;
	pai_value *const *values;
	pai_plan *p;
	if (pai_random_inputs(ctx, a, m, 0, &in) != PAI_OK)
		return;
	pai_plan_options o = {.backend = PAI_REFERENCE, .threads = 1};
	if (pai_plan_new(ctx, m->graph, pai_model_inputs(m, &values), in, &o, &p) != PAI_OK)
		return;
	out = PAI_NEWS(a, const pai_tensor *, m->graph->outputs.n + 1);
	assert(pai_plan_run(p, in, out) != PAI_INTERNAL);
	pai_plan_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pai_ctx *ctx = fuzz_ctx();
	pai_arena *a = pai_arena_new(ctx);
	pai_model *m = NULL;
	pai_pipeline pipeline;
	pai_pipeline_report report;
	assert(pai_pipeline_parse(ctx, a, NULL, &pipeline) == PAI_OK);
	if (pai_model_parse(ctx, fuzz_path("fuzz.onnx"), data, size, &m) == PAI_OK &&
	    pai_external_read(m) == PAI_OK && pai_infer(m) == PAI_OK && pai_verify(m) == PAI_OK) {
		pai_status status = pai_pipeline_run(m, &pipeline, NULL, a, &report);
		if (status == PAI_INTERNAL)
			fprintf(stderr, "%s\n", pai_diag_get(ctx, pai_diag_count(ctx) - 1)->text);
		assert(status != PAI_INTERNAL);
		if (status == PAI_OK)
			execute(ctx, a, m);
	}
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return 0;
}
