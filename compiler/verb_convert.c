/* verb_convert.c -- pai-opt convert MODEL: another form of the same model.
 *
 * Binary or text by the extension of the output, contents inside or outside the file. The model is
 * neither inferred nor verified: what can be read can be converted; only a pass needs it sound.
 */
#include "compiler/cli.h"
#include <string.h>

static void take_external(cli *c, pai_write_options *o)
{
	const char *value = cli_get(c, "external");
	if (!value)
		return;
	if (strcmp(value, "share") == 0)
		o->external = PAI_EXTERNAL_SHARE;
	else if (strcmp(value, "none") == 0)
		o->external = PAI_EXTERNAL_NONE;
	else
		o->external = PAI_EXTERNAL_FILE;
	if (o->external == PAI_EXTERNAL_FILE && *value)
		o->external_name = value;
}

/* One pass over the model, by its name in the tables. */
static pai_status apply(cli *c, pai_model *m, const char *pass)
{
	pai_pipeline pipeline;
	pai_pipeline_report report;
	const pai_pipeline_options options = {.stop_after = -1};
	PAI_TRY(pai_infer(m));
	PAI_TRY(pai_verify(m));
	PAI_TRY(pai_pipeline_parse(c->ctx, c->arena, pass, &pipeline));
	return pai_pipeline_run(m, &pipeline, &options, c->arena, &report);
}

static pai_status convert(cli *c, pai_model *m)
{
	pai_write_options o = {.external = PAI_EXTERNAL_KEEP};
	const char *out = cli_get(c, "o");
	bool to_stdout = out && strcmp(out, "-") == 0;
	take_external(c, &o);
	o.text = cli_has(c, "text") || (to_stdout && !m->text);
	if (!out && strcmp(c->args[0], "-") == 0)
		return pai_fail(c->ctx, PAI_E_missing_argument, pai_at_nothing(),
				"a model from standard input needs -o FILE");
	if (!out)
		out = cli_output_beside(c, c->args[0], "", cli_has(c, "text") || !m->text);
	if (cli_has(c, "inline"))
		PAI_TRY(apply(c, m, "inline-functions"));
	return pai_model_write(m, out, &o);
}

static pai_status run(cli *c)
{
	pai_model *m;
	PAI_TRY(pai_model_read(c->ctx, c->args[0], &m));
	pai_status status = convert(c, m);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"external", "=FILE",
	 "contents of tensors in a data file beside the output; share: leave them in the input's "
	 "data files; none: take them in"},
	{"text", NULL, "write the text form whatever the extension of the output"},
	{"inline", NULL, "replace calls of model-local functions by their bodies"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_convert = {
	.name = "convert",
	.summary = "binary to text and back, contents of tensors inside or outside the file",
	.usage = "MODEL [-o FILE]",
	.examples = "  pai-opt convert model.onnx -o model.onnxtxt\n"
		    "  pai-opt convert model.onnx -o -\n"
		    "  pai-opt convert model.onnx -o big.onnx --external=big.data\n"
		    "  pai-opt convert big.onnx -o one.onnx --external=none\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
