/* train_fixture.h -- what tests of training share: a small network, samples, a folder. */
#ifndef TRAIN_FIXTURE_H
#define TRAIN_FIXTURE_H

#include "passes/passes.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct fixture {
	pai_ctx *ctx;
	pai_arena *arena;
	char dir[32];
} fixture;

static inline int setup(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	f->ctx = pai_ctx_new(NULL);
	f->ctx->threads = 1;
	f->arena = pai_arena_new(f->ctx);
	strcpy(f->dir, "/tmp/pai-train-XXXXXX");
	*state = f;
	return mkdtemp(f->dir) ? 0 : -1;
}

static inline int teardown(void **state)
{
	fixture *f = *state;
	char command[64];
	snprintf(command, sizeof command, "rm -r %s", f->dir);
	int failed = system(command);
	pai_arena_free(f->arena);
	pai_ctx_free(f->ctx);
	free(f);
	return failed;
}

#define HEAD "<ir_version: 8, opset_import: [\"\" : 17]>\n"

/* Two layers with dropout between them, contents left to the metadata. */
static const char network[] = HEAD
	"#@ graph metadata_props: [\"pai.init.w1\": \"he_normal\", \"pai.init.b1\": \"zeros\", "
	"\"pai.init.w2\": \"xavier_uniform\", \"pai.init.b2\": \"zeros\", \"pai.lr.w2\": \"0.5\"]\n"
	"g (float[N, 6] x, float[16, 6] w1, float[16] b1, float[4, 16] w2, float[4] b2)\n"
	"=> (float[N, 4] y) <float ratio = {0.25}> {\n"
	"  h = Gemm <transB = 1> (x, w1, b1)\n"
	"  a = Tanh (h)\n"
	"  d = Dropout (a, ratio)\n"
	"  y = Gemm <transB = 1> (d, w2, b2)\n"
	"}\n";

static inline pai_model *parse(fixture *f, const char *text)
{
	pai_model *m;
	if (pai_text_parse(f->ctx, "m", text, strlen(text), &m) != PAI_OK || pai_infer(m) != PAI_OK)
		fail_msg("%s", pai_diag_get(f->ctx, 0)->text);
	return m;
}

/* n samples of 6 numbers; the label is which of the first four is the largest. */
static inline pai_dataset *samples(fixture *f, int n)
{
	pai_tensor *x = pai_tensor_new(f->arena, PAI_FLOAT, 2, (int64_t[]){n, 6});
	pai_tensor *y = pai_tensor_new(f->arena, PAI_INT64, 1, (int64_t[]){n});
	pai_random r = pai_random_new(7, 7, 0);
	for (int i = 0; i < n; i++) {
		int best = 0;
		for (int k = 0; k < 6; k++) {
			pai_tensor_set(x, i * 6 + k,
				       (double)pai_random_normal(&r, (uint64_t)(i * 6 + k)));
			if (k < 4 && pai_tensor_get(x, i * 6 + k) > pai_tensor_get(x, i * 6 + best))
				best = k;
		}
		pai_tensor_set(y, i, best);
	}
	pai_dataset *d = PAI_NEW(f->arena, pai_dataset);
	*d = (pai_dataset){.arena = f->arena, .path = "samples", .n = n};
	pai_dataset_add(d, "x", x);
	pai_dataset_add(d, "label", y);
	return d;
}

static inline const pai_item *item(fixture *f, const char *text)
{
	pai_item *items;
	int n;
	assert_int_equal(pai_items_parse(f->ctx, f->arena, text, &items, &n), PAI_OK);
	return items;
}

static inline pai_train_options options(fixture *f, const pai_dataset *d, const char *sgd)
{
	return (pai_train_options){
		.session = {.loss = pai_loss_find("cross-entropy"),
			    .optimizer = pai_optimizer_find("sgd"),
			    .optimizer_settings = item(f, sgd)},
		.data = d,
		.epochs = 3,
		.batch = 16,
		.shuffle = true,
	};
}

static inline const pai_tensor *weight(const pai_model *m, const char *name)
{
	return pai_graph_value(m->graph, name)->init;
}

static inline bool same(const pai_model *a, const pai_model *b, const char *name)
{
	return pai_tensor_equal(weight(a, name), weight(b, name));
}

static inline char *read_file(fixture *f, const char *name)
{
	FILE *in = fopen(pai_arena_printf(f->arena, "%s/%s", f->dir, name), "rb");
	if (!in)
		fail_msg("no %s", name);
	char *text = pai_arena_alloc(f->arena, 1 << 16);
	text[fread(text, 1, (1 << 16) - 1, in)] = 0;
	fclose(in);
	return text;
}

static inline int lines(const char *s)
{
	int n = 0;
	for (; *s; s++)
		n += *s == '\n';
	return n;
}

#endif
