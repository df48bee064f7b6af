/* verb_demo.c -- pai-opt demo: the whole path on real data.
 *
 * Each network of the examples is trained on Fashion-MNIST; the trained file then goes two ways, on
 * without change (the control) and on with dendrites; the latter gets 4-bit weights, trains on, is
 * folded to plain weights, and the exported file is run again on the test images by both runtimes.
 * Every stage reads the file that the stage before it wrote.
 */
#include "compiler/cli.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA_DIR "/usr/share/datasets/fashion-mnist"
/* Smoothed labels keep the outputs within some 10: nothing is gained by more, and runtimes that
 * round in another order then differ less. */
#define LOSS "cross-entropy{label_smoothing=0.1}"

enum { MAX_ROWS = 16, MAX_POINTS = 256, LEVELS = 15 };

typedef struct row { /* of the table, and a curve of the plot */
	const char *net, *stage, *file;
	double accuracy, seconds;
	int64_t parameters, bytes,
		distinct; /* distinct: values of the tensor with most, 0: no limit */
	int first_epoch, n_points;
	double x[MAX_POINTS], y[MAX_POINTS]; /* epoch, test accuracy in percent */
} row;

typedef struct demo {
	cli *c;
	const char *dir;
	pai_dataset *train, *test;
	row rows[MAX_ROWS];
	int n_rows;
	double start;
} demo;

typedef struct training { /* the rate falls to nothing over the epochs, along a cosine */
	int epochs;
	double lr;
} training;

static const training first = {5, 2e-3};
static const training further = {2, 1e-3};
static const training quantised = {1, 4e-4};

typedef struct network {
	const char *name, *model;
} network;

static const network nets[] = {
	{"cnn", "cnn.onnxtxt"},
	{"mlp", "mlp.onnxtxt"},
};

static const char *path_in(const demo *d, const char *net, const char *what, const char *ext)
{
	return pai_arena_printf(d->c->arena, "%s/%s-%s%s", d->dir, net, what, ext);
}

/* Examples lie beside the sources, or where the program was installed to. */
static const char *example(const demo *d, const char *name)
{
	const char *here = pai_arena_printf(d->c->arena, "%s/examples/%s", PAI_SOURCE_DIR, name);
	if (access(here, R_OK) == 0)
		return here;
	return pai_arena_printf(d->c->arena, "%s/%s", PAI_DATA_DIR, name);
}

/* DIR, DIR-2, DIR-3, ...: the first that is not there; a folder is never used twice. */
static pai_status make_folder(cli *c, const char *wanted, const char **out)
{
	for (int i = 1; i < 1000; i++) {
		*out = i == 1 ? wanted : pai_arena_printf(c->arena, "%s-%d", wanted, i);
		if (mkdir(*out, 0777) == 0)
			return PAI_OK;
		if (access(*out, F_OK) != 0)
			break;
	}
	return pai_fail(c->ctx, PAI_E_cannot_write, pai_at_file(wanted), "cannot make this folder");
}

static int compare_floats(const void *x, const void *y)
{
	float a = *(const float *)x, b = *(const float *)y;
	return (a > b) - (a < b);
}

static int64_t distinct_values(pai_arena *a, const pai_tensor *t)
{
	int64_t n = pai_tensor_nelem(t), distinct = n > 0;
	float *v = PAI_NEWS(a, float, n);
	pai_copy(v, t->data, t->nbytes);
	qsort(v, (size_t)n, sizeof *v, compare_floats);
	for (int64_t i = 1; i < n; i++)
		distinct += v[i] != v[i - 1];
	return distinct;
}

/* Parameters: elements of float initialisers. Distinct values: of weights, the most in one tensor.
 */
static pai_status measure(demo *d, row *r, const pai_model *m)
{
	struct stat st;
	pai_arena *scratch = pai_arena_new(d->c->ctx);
	r->parameters = r->distinct = 0;
	for (int i = 0; i < m->graph->inits.n; i++) {
		const pai_tensor *t = m->graph->inits.at[i]->init;
		if (t->dtype != PAI_FLOAT)
			continue;
		r->parameters += pai_tensor_nelem(t);
		int64_t n = t->rank >= 2 ? distinct_values(scratch, t) : 0;
		if (n > r->distinct)
			r->distinct = n;
	}
	pai_arena_free(scratch);
	if (stat(r->file, &st) != 0)
		return pai_fail(d->c->ctx, PAI_E_cannot_read, pai_at_file(r->file),
				"cannot read it");
	r->bytes = st.st_size;
	return PAI_OK;
}

static void show_progress(void *payload, const pai_train_progress *p)
{
	demo *d = payload;
	row *r = &d->rows[d->n_rows - 1];
	char text[128];
	snprintf(text, sizeof text, "%s %s: epoch %d/%d, loss %.4f", r->net, r->stage, p->epoch,
		 p->epochs, p->loss);
	cli_progress(d->c, (double)p->step, (double)p->steps, p->seconds_left, text);
	if (p->epoch_end && isfinite(p->val_accuracy) && r->n_points < MAX_POINTS) {
		r->x[r->n_points] = r->first_epoch + p->epoch;
		r->y[r->n_points++] = 100 * p->val_accuracy;
	}
}

static row *add_row(demo *d, const char *net, const char *stage, const char *file)
{
	row *r = &d->rows[d->n_rows++];
	*r = (row){.net = net, .stage = stage, .file = file};
	return r;
}

static pai_status train_options(demo *d, double lr, int epochs, const char *run_dir,
				pai_train_options *out)
{
	pai_item *settings;
	int n;
	const char *text = pai_arena_printf(d->c->arena, "adam{lr=%g}," LOSS, lr);
	PAI_TRY(pai_items_parse(d->c->ctx, d->c->arena, text, &settings, &n));
	*out = (pai_train_options){
		.session = {.loss = pai_loss_find("cross-entropy"),
			    .loss_settings = &settings[1],
			    .optimizer = pai_optimizer_find("adam"),
			    .optimizer_settings = &settings[0]},
		.data = d->train,
		.val = d->test,
		.label = "labels",
		.schedule = pai_schedule_find("cosine"),
		.epochs = epochs,
		.batch = 128,
		.shuffle = true,
		.run_dir = run_dir,
		.progress = show_progress,
		.payload = d,
	};
	return PAI_OK;
}

static pai_status apply_passes(demo *d, pai_model *m, const char *text)
{
	pai_pipeline pipeline;
	pai_pipeline_report report;
	PAI_TRY(pai_pipeline_parse(d->c->ctx, d->c->arena, text, &pipeline));
	return pai_pipeline_run(m, &pipeline, NULL, d->c->arena, &report);
}

static pai_status train(demo *d, row *r, pai_model *m, const training *t)
{
	pai_train_options o;
	pai_train_result result;
	PAI_TRY(train_options(d, t->lr, t->epochs, path_in(d, r->net, r->stage, ""), &o));
	PAI_TRY(pai_train(d->c->ctx, m, &o, &result));
	r->first_epoch += t->epochs;
	r->accuracy = result.val_accuracy;
	return PAI_OK;
}

/* Reads `in`, applies `passes`, trains (either may be NULL), writes the row's file. */
static pai_status stage(demo *d, row *r, const char *in, const char *passes, const training *t)
{
	double start = pai_now();
	pai_model *m;
	PAI_TRY(cli_model(d->c, in, &m));
	pai_status status = passes ? apply_passes(d, m, passes) : PAI_OK;
	if (status == PAI_OK && t)
		status = train(d, r, m, t);
	cli_progress_end(d->c);
	if (status == PAI_OK)
		status = pai_model_write(m, r->file, NULL);
	r->seconds = pai_now() - start;
	if (status == PAI_OK)
		status = measure(d, r, m);
	if (status == PAI_OK && t)
		cli_print(d->c, "%s %-10s %5.2f %%  in %s\n", r->net, r->stage, 100 * r->accuracy,
			  cli_duration(d->c, r->seconds));
	pai_model_free(m);
	return status;
}

static pai_status rerun(demo *d, row *r, pai_backend backend)
{
	pai_train_options o;
	pai_model *m;
	double start = pai_now(), loss;
	PAI_TRY(train_options(d, 0, 0, NULL, &o));
	o.session.backend = backend;
	PAI_TRY(cli_model(d->c, r->file, &m));
	pai_status status = pai_evaluate(d->c->ctx, m, &o, d->test, &loss, &r->accuracy);
	if (status == PAI_OK)
		status = measure(d, r, m);
	r->seconds = pai_now() - start;
	pai_model_free(m);
	return status;
}

static pai_status run_net(demo *d, const network *n)
{
	const char *plain = path_in(d, n->name, "plain", ".onnx");
	const char *control = path_in(d, n->name, "control", ".onnx");
	const char *grown = path_in(d, n->name, "dendrites", ".onnx");
	const char *four = path_in(d, n->name, "4bit", ".onnx");
	const char *deploy = path_in(d, n->name, "deploy", ".onnx");
	const char *rules = pai_arena_printf(
		d->c->arena,
		"add-transforms{rules=\"weights:deterministic_rounding{num_levels=%d}\"}", LEVELS);
	row *r = add_row(d, n->name, "plain", plain);
	PAI_TRY(stage(d, r, example(d, n->model), NULL, &first));
	const int fork = r->first_epoch;
	r = add_row(d, n->name, "control", control);
	r->first_epoch = fork;
	PAI_TRY(stage(d, r, plain, NULL, &further));
	r = add_row(d, n->name, "dendrites", grown);
	r->first_epoch = fork;
	PAI_TRY(stage(d, r, plain, "add-dendrites", &further));
	const int last = r->first_epoch;
	r = add_row(d, n->name, "4-bit", four);
	r->first_epoch = last;
	PAI_TRY(stage(d, r, grown, rules, &quantised));
	r = add_row(d, n->name, "burnt in", deploy);
	PAI_TRY(stage(d, r, four, "burn-in", NULL));
	PAI_TRY(rerun(d, r, PAI_FAST));
	return rerun(d, add_row(d, n->name, "reference", deploy), PAI_REFERENCE);
}

static void print_table(demo *d)
{
	cli_print(d->c, "\n%-5s %-10s %9s %11s %9s %9s %9s  %s\n", "net", "stage", "accuracy",
		  "parameters", "bytes", "values", "time", "file");
	for (int i = 0; i < d->n_rows; i++) {
		const row *r = &d->rows[i];
		cli_print(d->c,
			  "%-5s %-10s %7.2f %% %11" PRId64 " %9" PRId64 " %9" PRId64 " %9s  %s\n",
			  r->net, r->stage, 100 * r->accuracy, r->parameters, r->bytes, r->distinct,
			  cli_duration(d->c, r->seconds), r->file);
	}
	cli_print(d->c,
		  "\nvalues: distinct values of the weight tensor that has most\n"
		  "plain: trained from the start; control: the same epochs as dendrites, without "
		  "them;\n4-bit: dendrites and weights with %d levels; burnt in: folded to plain "
		  "weights, run again by the\nfast runtime; reference: the same file, run by the "
		  "reference kernels\n",
		  LEVELS);
}

/* A panel a network, a curve a stage. */
static pai_status draw(demo *d, const char *path)
{
	pai_panel panels[MAX_ROWS];
	pai_series series[MAX_ROWS];
	int n = 0, n_series = 0;
	for (int i = 0; i < d->n_rows; i++) {
		const row *r = &d->rows[i];
		if (!r->n_points)
			continue;
		if (!n || strcmp(panels[n - 1].title, r->net) != 0)
			panels[n++] = (pai_panel){.title = r->net,
						  .x_label = "epoch",
						  .y_label = "test accuracy (%)",
						  .series = &series[n_series]};
		panels[n - 1].n++;
		series[n_series++] = (pai_series){r->stage, r->n_points, r->x, r->y};
	}
	return pai_plot_write(d->c->ctx, path, "Fashion-MNIST", n, panels);
}

static pai_status open_data(demo *d, const char *dir)
{
	const char *spec[2];
	static const char *const sets[2] = {"train", "t10k"};
	for (int i = 0; i < 2; i++)
		spec[i] = pai_arena_printf(d->c->arena,
					   "%s/%s-images-idx3-ubyte.gz,%s/%s-labels-idx1-ubyte.gz",
					   dir, sets[i], dir, sets[i]);
	PAI_TRY(pai_dataset_open(d->c->ctx, spec[0], &d->train));
	return pai_dataset_open(d->c->ctx, spec[1], &d->test);
}

static pai_status run_all(demo *d)
{
	const char *only = cli_get(d->c, "net");
	for (size_t i = 0; i < sizeof nets / sizeof *nets; i++)
		if (!only || strcmp(only, nets[i].name) == 0)
			PAI_TRY(run_net(d, &nets[i]));
	const char *plot = pai_arena_printf(d->c->arena, "%s/plot.svg", d->dir);
	PAI_TRY(draw(d, plot));
	print_table(d);
	cli_print(d->c, "plot: %s\nall of it took %s\n", plot,
		  cli_duration(d->c, pai_now() - d->start));
	return PAI_OK;
}

static pai_status run(cli *c)
{
	demo d = {.c = c, .start = pai_now()};
	const char *data = cli_get(c, "data"), *wanted = cli_get(c, "o");
	int which = 0;
	PAI_TRY(cli_choice(c, "net", "cnn|mlp", &which));
	pai_status status = open_data(&d, data ? data : DATA_DIR);
	if (status == PAI_OK)
		status = make_folder(c, wanted ? wanted : "pai-demo", &d.dir);
	if (status == PAI_OK)
		status = run_all(&d);
	pai_dataset_free(d.train);
	pai_dataset_free(d.test);
	return status;
}

static const cli_option options[] = {
	{"data", "DIR", "folder of the four Fashion-MNIST files (default " DATA_DIR ")"},
	{"net", "cnn|mlp", "only this network"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_demo = {
	.name = "demo",
	.summary = "train, grow dendrites, quantise, fold and re-run two networks on Fashion-MNIST",
	.usage = "[-o DIR]",
	.examples = "  pai-opt demo\n  pai-opt demo --net=mlp -o /tmp/demo\n",
	.options = options,
	.max_args = 0,
	.computes = true,
	.run = run,
};
