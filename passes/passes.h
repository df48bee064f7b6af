/* passes.h -- what may be done to a model.
 *
 * A pass is a descriptor. Its run function sees a graph as const and fills a patch with rewrites;
 * the manager (manager.c) infers shapes when the pass needs them, calls it for every graph of the
 * model, applies the patch, verifies the result, counts, and calls again until nothing is proposed.
 * Dendrites and transforms are passes like any other; what distinguishes their nodes is metadata.
 */
#ifndef PAI_PASSES_H
#define PAI_PASSES_H

#include "runtime/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- manager.c ---- */

enum pai_analysis { PAI_SHAPES = 1, PAI_USES = 2 };

typedef enum pai_exactness {               /* what a pass promises about the model's outputs */
			     PAI_EXACT,    /* equal bit for bit */
			     PAI_ROUNDING, /* equal within rounding: see tolerance */
			     PAI_CHANGES,  /* meant to change them */
} pai_exactness;

typedef struct pai_pass_run { /* what run is given */
	pai_ctx *ctx;
	pai_arena *scratch;   /* lives for one call */
	const pai_item *item; /* settings, checked against the options */
	const struct pai_pass *pass;
	const pai_uses *uses; /* when needed */
	uint64_t *counts; /* by the pass's stats enum: of rewrites by pai_patch_count, of reasons
			   * against them directly */
	int round;        /* 0, 1, ... : how often run was called on this graph before */
	void *state;      /* the pass's own, from begin */
} pai_pass_run;

typedef struct pai_pass { /* a row of passes.def: PASS(name) -> pai_pass_<name>, passes/<name>.c */
	const char *name; /* "fold-batchnorm" */
	const char *summary;
	unsigned needs; /* pai_analysis */
	pai_exactness exactness;
	bool once;                 /* called a single time, not to a fixed point */
	const pai_option *options; /* NULL: none */
	const char *const *stats;  /* names of the counters, ended by NULL: rewrites and reasons for
				    * not rewriting */
	/* Optional: once before the first graph; allocates in r->scratch of the whole pass. */
	pai_status (*begin)(pai_pass_run *r, pai_model *m);
	pai_status (*run)(pai_pass_run *r, pai_patch *out, const pai_graph *g);
	/* Optional: once after the last graph; a rule that matched nothing is an error here. */
	pai_status (*end)(pai_pass_run *r, pai_model *m);
} pai_pass;

PAI_API const pai_pass *pai_pass_get(int i); /* NULL at the end */
PAI_API const pai_pass *pai_pass_find(const char *name);

typedef struct pai_pipeline {
	pai_item *items;
	const pai_pass **passes;
	int n;
} pai_pipeline;

/* Names and options are checked before any model is read. NULL text: the default clean-up. */
PAI_API PAI_MUST_USE pai_status pai_pipeline_parse(pai_ctx *ctx, pai_arena *a, const char *text,
						   pai_pipeline *out);
PAI_API const char *pai_pipeline_default(void);

typedef enum pai_print_when {
	PAI_PRINT_NEVER,
	PAI_PRINT_ALL,
	PAI_PRINT_CHANGED,
	PAI_PRINT_DIFF
} pai_print_when;

typedef struct pai_pipeline_options {
	pai_print_when print_before, print_after;
	const char *print_pass; /* only this one; NULL: all */
	FILE *print_to;         /* NULL: stderr */
	int stop_after;         /* rewrites in all; -1: no end */
	bool no_verify_each;
} pai_pipeline_options;

typedef struct pai_pass_report {
	const char *name; /* with settings, canonical */
	const pai_pass *pass;
	uint64_t rewrites;
	uint64_t *counts; /* by pass->stats */
	int rounds;
	int64_t nodes_before, nodes_after, inits_before, inits_after, bytes_before, bytes_after;
	double seconds;
} pai_pass_report;

typedef struct pai_pipeline_report {
	pai_pass_report *passes;
	int n;
	uint64_t rewrites;
	pai_exactness exactness; /* the weakest of the passes that fired */
} pai_pipeline_report;

/* Runs the passes in order on the model. Analyses are made when needed. */
PAI_API PAI_MUST_USE pai_status pai_pipeline_run(pai_model *m, const pai_pipeline *p,
						 const pai_pipeline_options *o, pai_arena *a,
						 pai_pipeline_report *out);

/* After PAI_INTERNAL: a file that holds the command line and, below it, the model as text. */
PAI_API PAI_MUST_USE pai_status pai_reproducer_write(pai_ctx *ctx, const char *path,
						     const char *command, const pai_model *m);

/* ---- targets.def, target.c: runtimes that a model is meant for ---- */

typedef struct pai_target {
	const char *name, *summary;
	int ir, opset, random_opset; /* newest; random_opset -1: nothing random runs */
	bool functions;              /* model-local functions run */
	const char *domains;         /* other than ai.onnx, with spaces between */
} pai_target;
PAI_API const pai_target *pai_target_get(int i); /* NULL at the end */
PAI_API PAI_MUST_USE pai_status pai_target_find(pai_ctx *ctx, const char *name,
						const pai_target **out);
/* LIMIT, with the first node that the target does not take, and why. */
PAI_API PAI_MUST_USE pai_status pai_target_check(pai_model *m, const pai_target *t);

/* ---- role.c ---- */

bool pai_has_role(const pai_node *n); /* metadata of ours: part of a dendrite, a transform's rule */
bool pai_same_role(const pai_node *a, const pai_node *b); /* the same such metadata, or none */

/* ---- dendrites.def: activations and initialisations of branches ---- */

typedef struct pai_dendrite_activation { /* ACTIVATION(name, opset, meaning) */
	const char *name, *meaning;
	int opset; /* what it is made of exists from this one on */
	/* Emits f(x) in standard operators. */
	pai_value *(*emit)(pai_patch *p, const char *hint, pai_value *x);
} pai_dendrite_activation;

/* ---- transform.c: transforms by name ---- */

typedef struct pai_transform { /* from transforms.def */
	const char *rule_name; /* "int_quant" */
	const char *op_type;   /* "IntQuant", of domain pai */
	const pai_body *body;  /* what other runtimes execute */
} pai_transform;
PAI_API extern const pai_table pai_transform_table;
PAI_API const pai_transform *pai_transform_get(int i); /* NULL at the end */
PAI_API const pai_transform *pai_transform_find(const char *rule_name);
PAI_API const pai_transform *pai_transform_of(const pai_node *n); /* NULL: not a transform */
/* The model-local function that other runtimes execute, for a graph of the given opset
 * (PAI_BODY_OPSET or newer); it belongs to the model. */
PAI_MUST_USE pai_status pai_transform_function(pai_model *m, const pai_transform *t, bool rockpool,
					       int64_t opset, pai_function **out);
/* After the last transform node is gone: drops functions of domain pai that nothing calls, the
 * import that nothing needs, and restores the IR version that add-transforms raised. */
void pai_transform_tidy(pai_model *m);
#define PAI_PROP_IR_VERSION "pai.ir_version" /* of the model before add-transforms */

#ifdef __cplusplus
}
#endif
#endif
