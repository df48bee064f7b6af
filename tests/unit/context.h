/* context.h -- what many unit tests share: one context for the program, calls that must succeed,
 * models from text, pipelines on them. */
#ifndef PAI_TEST_CONTEXT_H
#define PAI_TEST_CONTEXT_H

#include "passes/passes.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static pai_ctx *ctx; /* of the whole program */

static inline int make_context(void **state)
{
	(void)state;
	ctx = pai_ctx_new(NULL);
	return ctx ? 0 : -1;
}

static inline int free_context(void **state)
{
	(void)state;
	pai_ctx_free(ctx);
	return 0;
}

/* Fails the test with what the context has to say. */
static inline void must(pai_status status, const char *what)
{
	for (int i = 0; status != PAI_OK && i < pai_diag_count(ctx); i++)
		print_error("%s: %s %s\n", what, pai_diag_get(ctx, i)->where,
			    pai_diag_get(ctx, i)->text);
	assert_int_equal(status, PAI_OK);
}

/* With types. */
static inline pai_model *model_of(const char *text)
{
	pai_model *m;
	must(pai_text_parse(ctx, "test", text, strlen(text), &m), "parse");
	must(pai_infer(m), "infer");
	return m;
}

static inline pai_status run_passes_with(pai_model *m, const char *passes,
					 const pai_pipeline_options *o)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_pipeline p;
	pai_pipeline_report report;
	pai_diag_clear(ctx);
	pai_status status = pai_pipeline_parse(ctx, a, passes, &p);
	if (status == PAI_OK)
		status = pai_pipeline_run(m, &p, o, a, &report);
	pai_arena_free(a);
	return status;
}

static inline pai_status run_passes(pai_model *m, const char *passes)
{
	return run_passes_with(m, passes, NULL);
}

#endif
