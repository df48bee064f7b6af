/* runtime.h -- how a model runs and learns.
 *
 * A plan turns a graph into a flat list of steps {function, arguments} with all memory laid out
 * beforehand; running it is one loop over that list. Where shapes depend on contents, a step infers
 * and allocates when it runs; everything else is fixed when the plan is built. Each step comes from
 * the `fast` cell of its operator's row (oneDNN or own vector code), or from the plain C kernel of
 * the `kernel` cell, which defines what the operator means: oracle, constant folder and fallback.
 * Gradients are a graph rewrite (autodiff.c): rules emit ordinary nodes and a few of pai.internal,
 * and the joined graph is planned like any other. Training (session.c, train.c) keeps parameters,
 * gradients and optimiser state in flat arrays and runs one plan a step.
 */
#ifndef PAI_RUNTIME_H
#define PAI_RUNTIME_H

#include "compiler/compiler.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- kernel.c: reference kernels ---- */

typedef struct pai_run pai_run; /* one execution of a plan: step counter, scratch, subgraphs */

typedef struct pai_call { /* one node being executed */
	pai_ctx *ctx;
	const pai_node *node;
	const struct pai_kernel *kernel;
	int n_in, n_out;
	const pai_tensor *const *in; /* NULL: omitted */
	pai_tensor *const *out;      /* NULL: omitted. dtype, dims and data are set where the shape
				      * rule could tell them; rank -1: see pai_call_output */
	pai_run *run;
} pai_call;

typedef pai_status (*pai_kernel_fn)(pai_call *c);

/* Multiply-adds or comparisons of a node beyond a few for each element it reads and writes. From
 * shapes: contents may not be there. NULL: omitted, or past the end of the node's list. */
enum { PAI_WORK_OPERANDS = 4 };
typedef double (*pai_work_fn)(const pai_node *n, const pai_tensor *const in[PAI_WORK_OPERANDS],
			      const pai_tensor *const out[PAI_WORK_OPERANDS]);
double pai_elements(const pai_tensor *t); /* 0: NULL, or of unknown rank */

/* Behaviour of one or a family of operators; named pai_kernel_<cell>. */
typedef struct pai_kernel {
	pai_kernel_fn run;
	const void *data; /* what distinguishes members of a family, such as a scalar function */
	pai_work_fn work; /* NULL: none beyond the elements */
} pai_kernel;

#ifdef PAI_BUILDING
#define OP(name, since, traits, in, out, attr, types, shape, kernel, ...) \
	extern const pai_kernel pai_kernel_##kernel;
#include "schemas/all_ops.def"
#undef OP
#endif

PAI_API const pai_kernel *pai_op_kernel(const pai_op *op); /* NULL: none */

/* A transform written as a function: "Name <attributes> (inputs) => (Y) {...}" in ONNX's textual
 * syntax, standard operators only, valid in every opset from PAI_BODY_OPSET. One text for each
 * value of the attribute compat. The kernel is what executes here; the body is what other runtimes
 * execute. */
#define PAI_BODY_OPSET 12
typedef struct pai_body {
	const char *none, *rockpool;
} pai_body;

#ifdef PAI_BUILDING
#define OP(...)
#define TRANSFORM(name, since, traits, in, out, attr, types, shape, kernel, grad, fast, rule, \
		  body)                                                                       \
	extern const pai_body pai_body_##body;
#include "schemas/all_ops.def"
#undef TRANSFORM
#undef OP
#endif

/* Gives output o its type, shape and memory when the shape rule could not, or checks that they
 * agree when it could. Memory lives until the run has no more use for it. */
PAI_API PAI_MUST_USE pai_status pai_call_output(pai_call *c, int o, pai_dtype dtype, int rank,
						const int64_t *dims);
/* Memory for the duration of the call; NULL when there is none. Aligned to 64 bytes. */
PAI_API void *pai_call_scratch(pai_call *c, size_t nbytes);
pai_status pai_call_nomem(const pai_call *c); /* reports that there was none, and why */
/* Runs a subgraph of the node (If, Loop, Scan): `in` become its inputs in order; `out` receives
 * its outputs, borrowed until the next such call. They may be inputs handed through. */
PAI_API PAI_MUST_USE pai_status pai_call_subgraph(pai_call *c, const pai_graph *g, int n_in,
						  const pai_tensor *const *in, int n_out,
						  pai_tensor *out);

/* Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011) keyed by the context's
 * seed, the node, the step and, in the body of a loop, the iteration: on nothing else. */
typedef struct pai_random {
	uint32_t key[2], counter[4];
} pai_random;
PAI_API pai_random pai_call_random(const pai_call *c);
PAI_API pai_random pai_random_new(uint64_t seed, uint64_t stream, uint64_t step);
/* Four 32-bit words for block i of the stream. */
PAI_API void pai_random_block(const pai_random *r, uint64_t i, uint32_t out[4]);
PAI_API float pai_random_uniform(const pai_random *r, uint64_t i); /* [0,1), 24 bits, element i */
/* Elements first .. first+n. */
PAI_API void pai_random_uniforms(const pai_random *r, uint64_t first, size_t n, float *out);
PAI_API float pai_random_normal(const pai_random *r, uint64_t i); /* N(0,1), element i */

/* ---- budget.c: what runs may take ---- */

/* What happens until the end of the scope counts as one run for limits.run_work; scopes nest, the
 * outermost counts. Every run of a plan is a scope. */
PAI_API void pai_budget_begin(pai_ctx *ctx);
PAI_API void pai_budget_end(pai_ctx *ctx);
/* Counts memory for contents against limits.run_bytes, and work against limits.run_work. */
PAI_MUST_USE pai_status pai_budget_take(pai_ctx *ctx, pai_where at, size_t nbytes);
void pai_budget_give(pai_ctx *ctx, size_t nbytes);
PAI_MUST_USE pai_status pai_budget_work(pai_ctx *ctx, pai_where at, double work);
/* The most bytes that runs may hold at one time. */
uint64_t pai_run_bytes(const pai_ctx *ctx);
/* What the kernel says of it (pai_work_fn). */
double pai_kernel_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
		       const pai_tensor *const *out);
/* An estimate from shapes; tensors may be NULL or of unknown rank (-1). fast: vector code. */
double pai_node_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
		     const pai_tensor *const *out, bool fast);

/* ---- eval.c: one node, for folding and tests ---- */

/* Runs the shape rule and the reference kernel (or the function body) of a node on contents.
 * Outputs are allocated in the arena. LIMIT when an output would pass max_bytes (0: what a run may
 * hold). */
PAI_API PAI_MUST_USE pai_status pai_eval_node(pai_ctx *ctx, pai_arena *a, const pai_node *n,
					      const pai_tensor *const *in, uint64_t max_bytes,
					      pai_tensor **out);

/* ---- plan.c: a graph made ready to run ---- */

typedef enum pai_backend { PAI_FAST, PAI_REFERENCE } pai_backend;

/* Parameters that move while a training step runs: each as soon as its gradient is there and no
 * step to come reads it as it was. */
typedef struct pai_updates {
	const char *name; /* of the rule, for the list of steps */
	int n;
	pai_value *const *parameters; /* bound, float */
	pai_value *const *gradients;  /* of each; of the same shape */
	pai_value *loss;
	pai_value *output; /* what the loss is taken of; NULL: begin is not told of it */
	void *payload;     /* of both functions */
	/* Called before anything moves, with the loss and the type and sizes of the output (its
	 * contents may be gone); an error ends the run. */
	pai_status (*begin)(void *payload, float loss, const pai_tensor *output);
	/* Moves elements [from, from + n) of parameter i by the gradient scale * g[0 .. n). Called
	 * for every element once a run, from any thread. */
	void (*move)(void *payload, int i, size_t from, size_t n, float scale, const float *g);
} pai_updates;

typedef struct pai_plan_options {
	pai_backend backend;
	int threads;    /* 0: chosen from the work of the plan, at most ctx->threads */
	bool no_onednn; /* own kernels only: starting an engine costs some 20 ms */
	bool often;     /* many runs are to come: an engine is worth it for less work */
	bool profile;   /* time every step */
	double work;    /* choose threads and implementations as for a plan of so many
			 * multiply-adds, so that two plans choose alike; 0: the plan's own */
	/* Values whose memory is the caller's: initialisers that training moves, gradients, running
	 * statistics. Read and written in place, plain layout. */
	int n_bound;
	pai_value *const *bound;
	void *const *bound_data;
	/* Further values to be kept and readable after a run, beside the graph's outputs. */
	int n_keep;
	pai_value *const *keep;
	const pai_updates *updates; /* NULL: nothing moves */
} pai_plan_options;

typedef struct pai_plan pai_plan;

/* `inputs`: type and sizes of each graph input without initialiser, in order (data is not read).
 * The graph must not change while the plan lives. */
PAI_API PAI_MUST_USE pai_status pai_plan_new(pai_ctx *ctx, const pai_graph *g, int n_inputs,
					     const pai_tensor *const *inputs,
					     const pai_plan_options *o /* NULL: defaults */,
					     pai_plan **out);
PAI_API void pai_plan_free(pai_plan *p);
/* Inputs as given to pai_plan_new, now with contents. Outputs of the graph, then kept values, are
 * in outputs[], borrowed until the next run or free. */
PAI_API PAI_MUST_USE pai_status pai_plan_run(pai_plan *p, const pai_tensor *const *inputs,
					     const pai_tensor **outputs);
PAI_API void pai_plan_set_step(pai_plan *p, uint64_t step); /* for random nodes; default 0 */

/* A step of our own after the graph's. */
typedef pai_status (*pai_step_fn)(void *args, pai_run *run);
PAI_API void pai_plan_append(pai_plan *p, const char *name, pai_step_fn fn, void *args);

typedef struct pai_step_info {
	const pai_node *node; /* NULL: a reorder or an appended step */
	const char *name;     /* what the step does: "Conv+Relu", "reorder" */
	const char *impl; /* implementation really used: "brgconv:avx2", "own:avx2", "reference" */
	double flops, bytes;
	double seconds; /* of the last run, with profile */
} pai_step_info;
PAI_API int pai_plan_steps(const pai_plan *p);
PAI_API pai_step_info pai_plan_step(const pai_plan *p, int i);
PAI_API size_t pai_plan_bytes(const pai_plan *p); /* of the arena */
PAI_API int pai_plan_threads(const pai_plan *p);
double pai_plan_work(const pai_plan *p); /* multiply-adds, about */

/* Plans by input shape, for callers whose shapes vary: makes one when needed. */
typedef struct pai_runner pai_runner;
PAI_API PAI_MUST_USE pai_status pai_runner_new(pai_ctx *ctx, const pai_model *m,
					       const pai_plan_options *o, pai_runner **out);
PAI_API void pai_runner_free(pai_runner *r);
/* Plans made from now on choose as the plan that the other runner used last. */
void pai_runner_follow(pai_runner *r, const pai_runner *other);
PAI_API PAI_MUST_USE pai_status pai_runner_run(pai_runner *r, const pai_tensor *const *inputs,
					       const pai_tensor **outputs);
/* Graph inputs a caller must give: those without an initialiser, in order. */
PAI_API int pai_model_inputs(const pai_model *m, pai_value *const **out);

/* ---- compare.c: are two models the same function? ---- */

typedef struct pai_difference { /* of one output over all inputs tried */
	const char *output;
	double abs, rel, ulp; /* largest; rel is relative to the largest magnitude of the output */
	double magnitude;     /* that magnitude */
	bool shape, nan;      /* types or shapes differ; NaN in one only */
} pai_difference;

/* Seeded random contents for every input a caller must give: floats N(0,1), integers 0 to 2, one
 * array a model input, in order. Free dimensions get sizes with which the shapes of the whole model
 * fit; the first dimension of an input counts as the batch and gets 2. */
PAI_API PAI_MUST_USE pai_status pai_random_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m,
						  uint64_t seed, const pai_tensor ***out);
/* Units in the last place of the type between two numbers; 0 where it is no float. */
PAI_API double pai_ulps(pai_dtype dtype, double x, double y);
/* Runs both models on n_sets sets of inputs and takes the largest differences per output. Outputs
 * are matched by position; their number must agree. */
PAI_API PAI_MUST_USE pai_status pai_compare(pai_ctx *ctx, pai_arena *a, const pai_model *x,
					    const pai_model *y, const pai_plan_options *o,
					    int n_sets, const pai_tensor *const *const *inputs,
					    pai_difference **out, int *n_out);
/* abs <= atol + rtol * largest magnitude, no shape or NaN difference. */
PAI_API bool pai_difference_within(const pai_difference *d, double rtol, double atol);
/* Puts named tensors into the order of the model's inputs; a single unnamed one serves a model with
 * one input. A missing name, another type or another size is an error that names both sides. */
PAI_API PAI_MUST_USE pai_status pai_match_inputs(pai_ctx *ctx, pai_arena *a, const pai_model *m,
						 const char *file, int n, pai_tensor *const *given,
						 const pai_tensor ***out);

/* ---- autodiff.c: gradients as a rewrite ---- */

typedef struct pai_grad pai_grad; /* one differentiation under way */

/* A rule emits into g->patch and sets dx[i] for each input i it can; NULL: no gradient flows.
 * dy[o] is NULL where nothing flows into output o. pai_grad_wanted says which inputs matter. */
typedef pai_status (*pai_grad_fn)(pai_grad *g, const pai_node *n, pai_value *const *dy,
				  pai_value **dx);
#ifdef PAI_BUILDING
#define OP(name, since, traits, in, out, attr, types, shape, kernel, grad, ...)          \
	pai_status pai_grad_##grad(pai_grad *g, const pai_node *n, pai_value *const *dy, \
				   pai_value **dx);
#include "schemas/all_ops.def"
#undef OP
#endif
PAI_API pai_grad_fn pai_op_grad(const pai_op *op); /* NULL: none */
pai_patch *pai_grad_patch(pai_grad *g);
bool pai_grad_wanted(const pai_grad *g, const pai_node *n, int input);

/* Extends the graph by the gradient of sum(upstream[i] * of[i]) with respect to each wrt[i].
 * upstream NULL: ones. out[i] is NULL where nothing flows; else a value of its own, made by a node,
 * so that it can be bound to memory. Shapes must be inferred. The new nodes
 * use the newest operator versions and pai.internal: the result is for planning, not for writing.
 */
PAI_API PAI_MUST_USE pai_status pai_autodiff(pai_model *m, int n_of, pai_value *const *of,
					     pai_value *const *upstream, int n_wrt,
					     pai_value *const *wrt, pai_value **out);

typedef struct pai_inliner { /* which calls go */
	/* The function a node calls; NULL: it is no call, or stays. */
	const pai_function *(*called)(void *payload, const pai_node *n);
	/* What replaces each output of a call (NULL: nothing); its rewrite is still open. */
	void (*done)(void *payload, const pai_node *call, const pai_function *f,
		     pai_value *const *results);
	void *payload;
} pai_inliner;
/* Proposes the bodies of all calls of one graph; LIMIT where they make it too large. */
PAI_MUST_USE pai_status pai_inline_graph(pai_patch *p, pai_arena *scratch, const pai_graph *g,
					 const pai_inliner *how);
/* Replaces calls of model-local functions in the main graph by their bodies. An element of held[]
 * that is an output of a call becomes the value that replaces it. */
PAI_MUST_USE pai_status pai_inline_calls(pai_model *m, int n_held, pai_value **held);

/* ---- readers.def, data.c: data sets ---- */

typedef struct pai_field { /* one named array of a data set; axis 0 counts samples */
	const char *name;
	pai_tensor tensor; /* all samples; contents mapped or in memory */
} pai_field;

typedef struct pai_dataset {
	pai_arena *arena;
	const char *path;
	int n_fields;
	pai_field *fields;
	int64_t n; /* samples */
} pai_dataset;

typedef struct pai_reader { /* a row of readers.def: READER(name) -> pai_reader_<name> */
	const char *name, *summary;
	/* head: the first bytes of the (first) file; NULL for a folder. */
	bool (*matches)(const char *path, const uint8_t *head, size_t n);
	/* Fills out->fields; out->arena and out->path are set. */
	pai_status (*read)(pai_ctx *ctx, const char *path, pai_dataset *out);
} pai_reader;
/* For readers: adds a field. */
void pai_dataset_add(pai_dataset *d, const char *name, const pai_tensor *t);
PAI_API const pai_reader *pai_reader_get(int i); /* NULL at the end */
/* "x.npz", "images.idx3.gz,labels.idx1.gz", "folder"; with :N the first N samples, with :A-B the
 * samples A, A+1, ..., B-1 (counted from 0). Every field must have the same number of samples. */
PAI_API PAI_MUST_USE pai_status pai_dataset_open(pai_ctx *ctx, const char *spec, pai_dataset **out);
PAI_API void pai_dataset_free(pai_dataset *d);

/* Named tensors from .npz, .npy (name ""), a folder of input_K.pb and output_K.pb, or any other
 * reader of data sets; in file order. */
PAI_API PAI_MUST_USE pai_status pai_tensors_read(pai_ctx *ctx, pai_arena *a, const char *path,
						 pai_tensor ***out, int *n);

/* ---- npy.c, npz.c: numpy's files ---- */

/* Writes .npz, uncompressed and with equal bytes for equal tensors; a path that ends in .npy takes
 * one tensor. Types that numpy lacks are written as the next wider one. */
PAI_API PAI_MUST_USE pai_status pai_npz_write(pai_ctx *ctx, const char *path, int n,
					      const char *const *names,
					      const pai_tensor *const *tensors);

#define PAI_NPY_HEADER 10000 /* bytes of a header at most; tested before it is read */
typedef struct pai_npy {     /* what the header of an array says */
	pai_dtype dtype;
	int rank;
	int64_t dims[PAI_MAX_RANK];
	bool fortran;
	size_t offset, nbytes; /* of the contents */
} pai_npy;
/* From the first n bytes of an array of `size` bytes; member: of which npz, or NULL. */
pai_status pai_npy_header(pai_ctx *ctx, const char *file, const char *member, const void *bytes,
			  size_t n, uint64_t size, pai_npy *out);
/* Turns contents as stored into contents as a tensor has them. */
pai_status pai_npy_finish(pai_ctx *ctx, pai_arena *a, const char *file, const pai_npy *h,
			  pai_tensor *t);
pai_status pai_npy_parse(pai_ctx *ctx, pai_arena *a, const char *file, const void *bytes, size_t n,
			 pai_tensor **out);
pai_status pai_npz_parse(pai_ctx *ctx, pai_arena *a, const char *path, const void *bytes, size_t n,
			 pai_tensor ***out, int *n_out);
/* The header of the array a tensor is written as, and its contents. */
pai_status pai_npy_print(pai_ctx *ctx, pai_arena *a, const char *file, const pai_tensor *t,
			 const void **header, size_t *n_header, const pai_tensor **contents);

/* ---- losses.def ---- */

typedef struct pai_label_weights { /* what class numbers count in the loss of a batch */
	bool mean;                 /* it is divided by the sum of what its labels count */
	bool ignores;              /* labels that are `ignored` count 0 */
	int64_t ignored;
	const double *classes; /* [n], what the others count; NULL: 1 each */
	int64_t n;
} pai_label_weights;

typedef struct pai_loss { /* LOSS(name) -> pai_loss_<name>, in losses/<name>.c */
	const char *name, *summary;
	const pai_option *options;
	bool integer_labels; /* class indices; otherwise targets shaped as the output */
	/* Emits the scalar loss of `output` against `target`, in operators of the newest versions.
	 */
	pai_status (*emit)(pai_ctx *ctx, pai_patch *p, const pai_item *settings, pai_value *output,
			   pai_value *target, pai_value **loss);
	/* NULL: samples count alike. */
	pai_label_weights (*weigh)(pai_arena *a, const pai_item *settings);
} pai_loss;
PAI_API extern const pai_table pai_loss_table;
PAI_API const pai_loss *pai_loss_get(int i); /* NULL at the end */
PAI_API const pai_loss *pai_loss_find(const char *name);

/* ---- optimizers.def ---- */

typedef struct pai_hyper { /* of one step */
	double lr;
	uint64_t t;             /* steps done including this one: 1, 2, ... */
	const double *settings; /* the row's options after lr, in their order; false, true: 0, 1 */
} pai_hyper;

typedef struct pai_factors { /* what an optimiser makes of it; the places are its own */
	float at[10];
} pai_factors;

typedef struct pai_optimizer { /* OPTIMIZER(name) -> pai_optimizer_<name>, in optimizers/<name>.c */
	const char *name, *summary;
	const pai_option *options; /* first is lr */
	int n_states;              /* arrays of the parameters' size, zero at the start */
	/* Once a step. */
	pai_factors (*prepare)(const pai_hyper *h);
	/* One pass over n elements: moves p by the gradient scale * g, updates the states. Element
	 * by element, so that the caller may cut the arrays anywhere. Its loop begins with
	 * PAI_CLONES (simd.h). False: an element of p is not finite now. */
	bool (*update)(const pai_factors *f, size_t n, float scale, const float *g, float *p,
		       float *const *state);
} pai_optimizer;
PAI_API extern const pai_table pai_optimizer_table;
PAI_API const pai_optimizer *pai_optimizer_get(int i); /* NULL at the end */
PAI_API const pai_optimizer *pai_optimizer_find(const char *name);

/* ---- schedules.def ---- */

typedef struct pai_moment {   /* of a run, counted from the end of the warm-up */
	uint64_t step, steps; /* step of steps: 0, 1, ... steps - 1 */
	uint64_t epoch;       /* 0, 1, ... */
} pai_moment;

typedef struct pai_schedule { /* SCHEDULE(name) -> pai_schedule_<name>, in schedules/<name>.c */
	const char *name, *summary;
	const pai_option *options; /* numbers; first is PAI_WARMUP */
	/* What the learning rate is multiplied by; settings: the options after the first. */
	double (*factor)(const double *settings, const pai_moment *at);
} pai_schedule;
#define PAI_WARMUP                                                                  \
	{                                                                           \
		.name = "warmup", .type = PAI_OPT_INT, .def = "0", .max = 1e15,     \
		.help = "steps in which the learning rate rises in a straight line" \
	}
PAI_API extern const pai_table pai_schedule_table;
PAI_API const pai_schedule *pai_schedule_get(int i); /* NULL at the end */
PAI_API const pai_schedule *pai_schedule_find(const char *name);

typedef struct pai_scheduling { /* a schedule over a run of so many steps */
	const pai_schedule *schedule;
	const double *settings;
	uint64_t warmup, steps, steps_per_epoch;
} pai_scheduling;
pai_scheduling pai_scheduling_new(pai_arena *a, const pai_schedule *s, const pai_item *settings,
				  uint64_t steps, uint64_t steps_per_epoch);
double pai_scheduling_factor(const pai_scheduling *s, uint64_t step); /* step: 0, 1, ... */

/* ---- metrics.def ---- */

typedef struct pai_tally {
	double sum, count; /* the score is their ratio; count 0: nothing was measured */
	bool ignores;      /* predictions with the label `ignored` do not count */
	int64_t ignored;
} pai_tally;

typedef enum pai_labels { /* what a metric can be measured on */
			  PAI_ANY_LABELS,
			  PAI_CLASSES, /* of a loss with integer labels, be they indices or
					  probabilities */
			  PAI_TARGETS, /* shaped as the output, of any other loss */
} pai_labels;

typedef struct pai_metric { /* METRIC(name) -> pai_metric_<name>, in metrics/<name>.c */
	const char *name, *summary;
	bool higher_is_better;
	pai_labels of;
	/* Adds a batch, whose mean loss is `loss`. */
	void (*add)(pai_tally *t, const pai_tensor *output, const pai_tensor *labels, double loss);
} pai_metric;
PAI_API extern const pai_table pai_metric_table;
PAI_API const pai_metric *pai_metric_get(int i); /* NULL at the end */
PAI_API const pai_metric *pai_metric_find(const char *name);
PAI_API bool pai_metric_applies(const pai_metric *m, const pai_loss *loss);

enum { PAI_SCORE_LOSS, PAI_SCORE_ACCURACY, PAI_SCORE_FURTHER }; /* places among scores */

typedef struct pai_scores { /* of a model on a data set */
	int n;
	const pai_metric *metric[16];
	double value[16]; /* NaN: not measured, or it does not apply */
} pai_scores;

/* ---- initializers.c: contents of weights that a model leaves to us ---- */

/* Gives contents to what the metadata of the graph names: "pai.init.<initialiser or input>" is one
 * of zeros, ones, he_normal, he_uniform, xavier_normal, xavier_uniform, lecun_normal,
 * lecun_uniform. An input becomes an initialiser; the entries go. Fans are those of the first
 * reader (Conv, ConvTranspose, Gemm, MatMul); drawn from (seed, name), element by element, so the
 * same on any machine. Types must be known. */
PAI_API PAI_MUST_USE pai_status pai_model_initialize(pai_model *m);

/* ---- forms.c: from how a model infers to how it trains ---- */

typedef struct pai_statistic {  /* running statistics that a training step moves */
	pai_value *init, *next; /* the initialiser, and the value that replaces it */
} pai_statistic;

/* Which initialisers move: globs, NULL: no word on it. */
typedef struct pai_moving {
	const char *freeze, *trainable;
} pai_moving;
bool pai_moves(const pai_moving *w, const char *initializer);
/* Puts BatchNormalization and Dropout into training mode; a BatchNormalization whose statistics do
 * not move is put into inference mode, so that it computes what it computes when measured. */
PAI_MUST_USE pai_status pai_training_forms(pai_model *m, const pai_moving *w, pai_statistic **out,
					   int *n_out);
/* The other way round, for what the file holds in training mode. */
PAI_MUST_USE pai_status pai_inference_forms(pai_model *m);
/* Does it use the statistics of the batch? In opset 7 to 13 the outputs asked for tell. */
bool pai_normalization_trains(const pai_node *n);
/* Exporters merge tensors that are equal, such as the ones and zeros that a fresh
 * BatchNormalization has as scale and variance, bias and mean. Where running statistics were merged
 * with anything else, the node gets tensors of its own again. */
PAI_API PAI_MUST_USE pai_status pai_separate_statistics(pai_model *m);
/* Exporters may write weights as Constant nodes. Those of float arrays in the main graph become
 * initialisers of the same names: all of them where the model has no float array among its
 * initialisers, else those that `trainable` names. */
PAI_API PAI_MUST_USE pai_status pai_lift_constants(pai_model *m, const char *trainable);

/* ---- objective.c: a model with labels and a loss ---- */

typedef struct pai_objective {
	pai_model *model;  /* a copy with one input more, the labels; outputs: output (when it
			    * infers), loss */
	pai_value *output; /* what the loss is taken of */
	pai_value *label, *loss;
	bool probabilities;        /* the labels are those of the classes */
	pai_statistic *statistics; /* when it trains */
	int n_statistics;
} pai_objective;
struct pai_session_options;
PAI_MUST_USE pai_status pai_objective_new(pai_ctx *ctx, const pai_model *m,
					  const struct pai_session_options *o, bool training,
					  pai_objective *out);

/* ---- session.c: a model under training ---- */

typedef struct pai_session pai_session;

typedef struct pai_session_options {
	const pai_loss *loss;
	const pai_item *loss_settings; /* NULL: defaults */
	const pai_optimizer *optimizer;
	const pai_item *optimizer_settings; /* NULL: defaults */
	const char *output;                 /* NULL: the only one */
	bool float_labels;                  /* probabilities, for a loss of integer labels */
	const char *freeze, *trainable; /* globs over initialisers; NULL: float initialisers that
					 * a gradient reaches, single numbers (rank 0) excepted */
	pai_backend backend;
	int threads;
	bool profile;        /* time every step of the plan */
	bool keep_gradients; /* for pai_session_gradient; else they are gone when used */
} pai_session_options;

/* The model is not changed; pai_session_store writes the weights back. A factor of the learning
 * rate of a tensor stands in the metadata of the graph: key "pai.lr.<initialiser>". `m` must
 * outlive the session. */
PAI_API PAI_MUST_USE pai_status pai_session_new(pai_ctx *ctx, const pai_model *m,
						const pai_session_options *o, pai_session **out);
PAI_API void pai_session_free(pai_session *s);
/* One step on a batch: inputs in the model's order, labels (int64 or float). *loss is that before
 * the step. An error before anything moved, such as a loss that is not finite (NUMERIC), leaves the
 * session as it was before the step. An error later, such as a gradient that is not finite
 * (NUMERIC) or memory that ran out, leaves it halfway: some parameters have moved. Until
 * pai_session_restore, steps, measuring, keeping and storing then fail with USAGE. */
PAI_API PAI_MUST_USE pai_status pai_session_step(pai_session *s, const pai_tensor *const *inputs,
						 const pai_tensor *labels, float *loss);
/* The model as it infers, with the weights of now. *output is borrowed until the next call. */
PAI_API PAI_MUST_USE pai_status pai_session_evaluate(pai_session *s,
						     const pai_tensor *const *inputs,
						     const pai_tensor *labels,
						     const pai_tensor **output, float *loss);
/* The plan of the newest training step's shapes, for its figures; NULL: none was made. */
PAI_API const pai_plan *pai_session_plan(const pai_session *s);
PAI_API void pai_session_set_lr(pai_session *s, float lr);
PAI_API float pai_session_lr(const pai_session *s);
/* Writes the weights into the initialisers of m, which has those of the session's model. */
PAI_API PAI_MUST_USE pai_status pai_session_store(const pai_session *s, pai_model *m);
PAI_API int64_t pai_session_parameters(const pai_session *s);
/* Gradient of a trained initialiser in the last step, as many floats as it has elements; NULL: it
 * is not trained, or gradients are not kept. */
PAI_API const float *pai_session_gradient(const pai_session *s, const char *initializer);
/* Keeps, and later puts back, all that steps change: weights, running statistics, states of the
 * optimiser and the number of steps, but not the learning rate. */
PAI_API PAI_MUST_USE pai_status pai_session_keep(pai_session *s);
/* To what was last kept, or where nothing was, to how the session began. */
PAI_API void pai_session_restore(pai_session *s);
/* False where a weight is NaN or infinite; *name is its initialiser. */
PAI_API bool pai_session_finite(const pai_session *s, const char **name);

/* The copy that infers; lives as long as the session. */
const pai_objective *pai_session_objective(const pai_session *s);

/* ---- batch.c: samples of a data set as inputs of a model ---- */

typedef struct pai_batcher {
	pai_tensor **inputs; /* of the model, in order, filled by pai_batch_fill */
	pai_tensor *labels;
	int n_inputs;
	int64_t n; /* samples of the data set */
	struct pai_feed *feeds;
} pai_batcher;

/* The field of the labels: key, or where that is NULL "label", then "labels"; NULL: none. */
const pai_field *pai_label_field(const pai_dataset *d, const char *key);
/* Matches fields to the inputs of an objective by name (a model of one input takes the only field
 * that is not the label), and checks types, shapes and the range of labels.
 * Shapes may differ by axes of size 1 or by being flat. Numbers are converted: uint8 to float
 * divides by 255; floats to floats; integers to wider integers. Nothing else is. */
PAI_MUST_USE pai_status pai_batcher_new(pai_ctx *ctx, pai_arena *a, const pai_objective *o,
					const pai_dataset *d, const char *label_key, int max_batch,
					pai_batcher *out);
/* Samples index[0 .. n) into the tensors, whose first size becomes n. n <= max_batch */
void pai_batch_fill(pai_batcher *b, const int64_t *index, int n);
/* Labels have the shape of the output that was computed from their batch; class numbers that of it
 * without axis 1. A loss would repeat smaller ones, and a metric read past them. */
PAI_MUST_USE pai_status pai_labels_fit(pai_ctx *ctx, const pai_objective *o,
				       const pai_tensor *output, const pai_tensor *labels);
/* The first NaN or infinity among the n samples that were filled in last: which of them, and in
 * which input (n_inputs: the labels). */
bool pai_batch_not_finite(const pai_batcher *b, int n, int *sample, int *input);
/* Samples the model takes at a time; 0: any number. */
int64_t pai_fixed_batch(const pai_model *m);

/* ---- plot.c: curves as SVG ---- */

typedef struct pai_series {
	const char *name;
	int n;
	const double *x, *y; /* NaN: no point */
} pai_series;

typedef struct pai_panel { /* one pair of axes */
	const char *title, *x_label, *y_label;
	int n;
	const pai_series *series;
} pai_panel;

/* Panels side by side, each with axes, ticks and a legend; the same series name has the same colour
 * in all of them. Equal bytes for equal numbers. */
PAI_API PAI_MUST_USE pai_status pai_plot_write(pai_ctx *ctx, const char *path, const char *title,
					       int n, const pai_panel *panels);

/* ---- train.c: the loop ---- */

typedef struct pai_train_progress {
	int epoch, epochs;
	uint64_t step, steps;
	double seconds, seconds_left, loss, lr;
	double val_loss, val_accuracy; /* NaN: not measured now */
	bool epoch_end;
	const pai_scores *scores; /* at the end of an epoch with val; else NULL */
} pai_train_progress;

typedef struct pai_train_options {
	pai_session_options session;
	const pai_dataset *data, *val; /* val may be NULL */
	const char *label;             /* field of the labels; NULL: "label", else "labels" */
	int epochs;                    /* 0: by steps */
	uint64_t steps;                /* at most; 0: by epochs */
	int batch;                     /* 0: what the model fixes, else 32 */
	bool shuffle, drop_last;
	const pai_schedule *schedule;      /* NULL: constant */
	const pai_item *schedule_settings; /* NULL: defaults */
	/* Measured on val beside loss and accuracy; the first one chooses the best model. None: the
	 * accuracy does where it applies, else the loss. */
	int n_metrics;
	const pai_metric *const *metrics;
	const char *run_dir, *log_steps; /* NULL: none */
	const char *rewrites; /* what was done to the model before, for config.json; may be NULL */
	void (*progress)(void *payload, const pai_train_progress *p);
	bool (*stop)(void *payload); /* asked after each step: end the run there? NULL: never */
	void *payload;
} pai_train_options;

typedef struct pai_train_result {
	int epochs;
	uint64_t steps;
	double loss, val_loss, val_accuracy, best_accuracy, seconds;
	const pai_metric *metric; /* that chose the best model */
	double best;              /* its value there; NaN: never a number, so there is no best */
	pai_scores scores;        /* of the last epoch; none without val */
	bool stopped;             /* by `stop`; the model has the weights of then */
} pai_train_result;

/* Trains the model in place (its weights), after pai_model_initialize. NUMERIC on a NaN loss: the
 * weights of the last good epoch are kept in the model, and in the run folder when there is one. */
PAI_API PAI_MUST_USE pai_status pai_train(pai_ctx *ctx, pai_model *m, const pai_train_options *o,
					  pai_train_result *out);
/* Mean loss and accuracy (argmax over axis 1) of a model over a data set. */
PAI_API PAI_MUST_USE pai_status pai_evaluate(pai_ctx *ctx, const pai_model *m,
					     const pai_train_options *o, const pai_dataset *d,
					     double *loss, double *accuracy);

/* ---- onednn.c ---- */
/* Of the library that is loaded, which is opened for that: "2.6.3"; NULL: it cannot be opened.
 * Starts no engine. */
PAI_API const char *pai_onednn_version(pai_ctx *ctx, pai_arena *a);
PAI_API const char *pai_onednn_isa(
	pai_ctx *ctx); /* instructions that it uses: "avx2"; NULL: none */

#ifdef __cplusplus
}
#endif
#endif
