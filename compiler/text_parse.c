/* text_parse.c -- functions and models of the text form, around the graphs of text_graph.c. */
#include "compiler/ctx.h"
#include "compiler/text.h"
#include <string.h>

static pai_status opsets(text_parser *p, pai_opset **out, int *n)
{
	PAI_VEC(pai_opset) list = {0};
	PAI_TRY(text_match(&p->t, '['));
	if (!text_accept(&p->t, ']')) {
		do {
			pai_opset o;
			PAI_TRY(text_cstring(&p->t, &o.domain));
			PAI_TRY(text_match(&p->t, ':'));
			PAI_TRY(text_int(&p->t, &o.version));
			PAI_PUSH(p->t.arena, list, o);
			PAI_TRY(text_limit(&p->t, "operator sets", (uint64_t)list.n,
					   p->t.ctx->limits.opsets));
		} while (text_accept(&p->t, ','));
		PAI_TRY(text_match(&p->t, ']'));
	}
	*out = list.at;
	*n = list.n;
	return PAI_OK;
}

/* ... */
static pai_status model_field(text_parser *p, const char *key)
{
	pai_model *m = p->m;
	const struct {
		const char *key;
		const char **string;
		int64_t *number;
	} fields[] = {
		{"ir_version", NULL, &m->ir_version},
		{"model_version", NULL, &m->model_version},
		{"producer_name", &m->producer_name, NULL},
		{"producer_version", &m->producer_version, NULL},
		{"domain", &m->domain, NULL},
		{"doc_string", &m->doc, NULL},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (strcmp(key, fields[i].key) == 0)
			return fields[i].number ? text_int(&p->t, fields[i].number)
						: text_cstring(&p->t, fields[i].string);
	if (strcmp(key, "opset_import") == 0)
		return opsets(p, &m->opsets, &m->n_opsets);
	if (strcmp(key, "metadata_props") == 0)
		return text_props(&p->t, &m->props);
	return text_fail(&p->t, PAI_E_text_syntax, "a model has no field \"%.60s\"", key);
}

static pai_status function_field(text_parser *p, pai_function *f, const char *key)
{
	if (strcmp(key, "opset_import") == 0)
		return opsets(p, &f->opsets, &f->n_opsets);
	if (strcmp(key, "domain") == 0)
		return text_cstring(&p->t, &f->domain);
	if (strcmp(key, "overload") == 0)
		return text_cstring(&p->t, &f->overload);
	if (strcmp(key, "doc_string") == 0)
		return text_function_doc(&p->t, f);
	return text_fail(&p->t, PAI_E_text_syntax, "a function has no field \"%.60s\"", key);
}

/* < key: value, ... >, of the function or, where f is NULL, of the model. */
static pai_status header(text_parser *p, pai_function *f)
{
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	do {
		const char *key;
		PAI_TRY(text_id(&p->t, &key));
		PAI_TRY(text_match(&p->t, ':'));
		PAI_TRY(f ? function_field(p, f, key) : model_field(p, key));
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, '>');
}

/* <a, b, c: int = 4> */
static pai_status function_attributes(text_parser *p, pai_function *f)
{
	PAI_VEC(pai_attr) attrs = {0};
	PAI_VEC(const char *) names = {0};
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	do {
		pai_attr a = {0};
		PAI_TRY(text_name(&p->t, &a.name));
		PAI_TRY(text_limit(&p->t, "attributes of a function",
				   (uint64_t)names.n + (uint64_t)attrs.n + 1,
				   p->t.ctx->limits.attributes));
		int c = text_peek(&p->t);
		if (c != ':' && c != '=') {
			PAI_PUSH(p->t.arena, names, a.name);
			continue;
		}
		PAI_TRY(text_attribute(p, f->graph, NULL, &a));
		PAI_PUSH(p->t.arena, attrs, a);
	} while (text_accept(&p->t, ','));
	f->attr_names = names.at;
	f->n_attr_names = names.n;
	f->attrs = attrs.at;
	f->n_attrs = attrs.n;
	return text_match(&p->t, '>');
}

static pai_status function(text_parser *p, pai_function **out)
{
	pai_function *f = PAI_NEW(p->t.arena, pai_function);
	f->domain = f->overload = "";
	PAI_TRY(header(p, f));
	PAI_TRY(text_name(&p->t, &f->name));
	f->graph = pai_graph_new(p->m, NULL, NULL, f->name);
	f->graph->function = f;
	PAI_TRY(function_attributes(p, f));
	PAI_TRY(text_function_graph(p, f->graph));
	*out = f;
	return PAI_OK;
}

/* Functions come after the graph that calls them. */
static pai_status resolve(void *payload, pai_graph *g)
{
	(void)payload;
	for (int i = 0; i < g->nodes.n; i++) {
		g->nodes.at[i]->op = pai_node_row(g->nodes.at[i]);
		pai_ctx_know_op(g->model->ctx, g->nodes.at[i]->op);
	}
	return PAI_OK;
}

static pai_status model(text_parser *p)
{
	pai_model *m = p->m;
	PAI_TRY(header(p, NULL));
	PAI_TRY(text_name(&p->t, &m->graph->name));
	PAI_TRY(text_graph(p, m->graph));
	while (text_peek(&p->t) >= 0) {
		pai_function *f;
		PAI_TRY(function(p, &f));
		if (pai_model_function(m, f->domain, f->name, f->overload))
			return text_fail(&p->t, PAI_E_text_name, "\"%.80s\" is defined twice",
					 f->name);
		pai_model_add_function(m, f);
	}
	PAI_TRY(text_read_notes(&p->t, m, NULL, NULL));
	PAI_TRY(pai_graph_walk(m->graph, resolve, m));
	for (int i = 0; i < m->functions.n; i++)
		PAI_TRY(pai_graph_walk(m->functions.at[i]->graph, resolve, m));
	return PAI_OK;
}

pai_status pai_text_parse(pai_ctx *ctx, const char *name, const char *text, size_t n,
			  pai_model **out)
{
	pai_model *m = pai_model_new(ctx, "", 0);
	text_parser p = {.t = {.ctx = ctx, .arena = m->arena, .file = name, .s = text, .n = n},
			 .m = m};
	m->path = pai_arena_strdup(m->arena, name);
	m->text = true;
	text_locale locale = text_locale_begin();
	pai_status status = model(&p);
	text_locale_end(locale);
	if (status == PAI_OK)
		*out = m;
	else
		pai_model_free(m);
	return status;
}

pai_status pai_text_parse_function(pai_ctx *ctx, pai_model *m, const char *text, pai_function **out)
{
	text_parser p = {.t = {.ctx = ctx,
			       .arena = m->arena,
			       .file = "function",
			       .s = text,
			       .n = strlen(text)},
			 .m = m};
	text_locale locale = text_locale_begin();
	pai_status status = function(&p, out);
	if (status == PAI_OK && text_peek(&p.t) >= 0)
		status = text_expected(&p.t, "the end");
	text_locale_end(locale);
	return status;
}
