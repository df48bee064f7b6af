/* train.c -- pai as a library: load a model, rewrite it, train a few steps, save it.
 *
 *     example_train tiny.onnxtxt trained.onnx
 *
 * The model has two inputs and two classes; the task is XOR.
 */
#include "passes/passes.h"
#include <stdio.h>

static pai_status rewrite(pai_ctx *ctx, pai_arena *arena, pai_model *model)
{
	pai_pipeline pipeline;
	pai_pipeline_report report;
	const char *text = "eliminate-dead,add-dendrites{recipe=reference,count=1}";
	PAI_TRY(pai_pipeline_parse(ctx, arena, text, &pipeline));
	PAI_TRY(pai_infer(model));
	PAI_TRY(pai_pipeline_run(model, &pipeline, NULL, arena, &report));
	printf("%d rewrites\n", (int)report.rewrites);
	return PAI_OK;
}

static pai_status train(pai_ctx *ctx, pai_arena *arena, pai_model *model)
{
	float x[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
	int64_t y[4] = {0, 1, 1, 0};
	int64_t x_dims[2] = {4, 2}, y_dims[1] = {4};
	pai_tensor input = {
		.dtype = PAI_FLOAT, .rank = 2, .dims = x_dims, .data = x, .nbytes = sizeof x};
	pai_tensor labels = {
		.dtype = PAI_INT64, .rank = 1, .dims = y_dims, .data = y, .nbytes = sizeof y};
	const pai_tensor *inputs[1] = {&input};
	pai_item *loss, *optimizer;
	int n;
	PAI_TRY(pai_items_parse(ctx, arena, "cross-entropy", &loss, &n));
	PAI_TRY(pai_items_parse(ctx, arena, "adam{lr=0.05}", &optimizer, &n));
	pai_session_options options = {
		.loss = pai_loss_find("cross-entropy"),
		.loss_settings = loss,
		.optimizer = pai_optimizer_find("adam"),
		.optimizer_settings = optimizer,
	};
	pai_session *session;
	PAI_TRY(pai_session_new(ctx, model, &options, &session));
	float first = 0, last = 0;
	pai_status status = PAI_OK;
	for (int step = 0; step < 200 && status == PAI_OK; step++) {
		status = pai_session_step(session, inputs, &labels, &last);
		if (step == 0)
			first = last;
	}
	if (status == PAI_OK)
		status = pai_session_store(session, model);
	pai_session_free(session);
	printf("loss %.4f -> %.4f\n", (double)first, (double)last);
	return status == PAI_OK && !(last < first / 4) ? PAI_CHECK : status;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: example_train MODEL OUT\n");
		return PAI_USAGE;
	}
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *arena = pai_arena_new(ctx);
	pai_model *model = NULL;
	pai_status status = pai_model_read(ctx, argv[1], &model);
	if (status == PAI_OK)
		status = rewrite(ctx, arena, model);
	if (status == PAI_OK)
		status = train(ctx, arena, model);
	if (status == PAI_OK)
		status = pai_model_write(model, argv[2], NULL);
	for (int i = 0; i < pai_diag_count(ctx); i++)
		pai_diag_print(pai_diag_get(ctx, i), stderr, false);
	pai_model_free(model);
	pai_arena_free(arena);
	pai_ctx_free(ctx);
	return status;
}
