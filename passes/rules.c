/* rules.c -- reads the rules of add-transforms and holds tensors against them.
 *
 * A rule is written inline, `weights:int_quant{n_bits=4,node=conv?}`, or as an object of a JSON
 * file: {"match": {"family": "weights", "node": "conv?"}, "transform": {"fn": "int_quant",
 * "n_bits": 4}}. Both become the same list of settings, checked by one table.
 */
#include "passes/rules.h"
#include <errno.h>
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *source; /* file, or "rules" */
	PAI_VEC(pai_rule) rules;
} reader;

typedef struct family_row {
	const char *op_type;
	int slot;
	const char *family;
} family_row;

static const family_row families[] = {
	{"Gemm", 0, "weights"},
	{"Gemm", 1, "weights"},
	{"Gemm", 2, "biases"},
	{"MatMul", 0, "weights"},
	{"MatMul", 1, "weights"},
	{"Conv", 1, "weights"},
	{"Conv", 2, "biases"},
	{"ConvTranspose", 1, "weights"},
	{"ConvTranspose", 2, "biases"},
	{"RNN", 1, "weights"},
	{"RNN", 2, "weights"},
	{"RNN", 3, "biases"},
	{"GRU", 1, "weights"},
	{"GRU", 2, "weights"},
	{"GRU", 3, "biases"},
	{"LSTM", 1, "weights"},
	{"LSTM", 2, "weights"},
	{"LSTM", 3, "biases"},
	{"BatchNormalization", 1, "norm"},
	{"BatchNormalization", 2, "norm"},
	{"InstanceNormalization", 1, "norm"},
	{"InstanceNormalization", 2, "norm"},
	{"LayerNormalization", 1, "norm"},
	{"LayerNormalization", 2, "norm"},
	{"GroupNormalization", 1, "norm"},
	{"GroupNormalization", 2, "norm"},
};

static const char *const family_names[] = {"weights",    "biases",      "norm",
					   "taus",       "decays",      "bitshifts",
					   "thresholds", "activations", NULL};

static bool is_layer(const pai_node *n)
{
	return n && (pai_node_is(n, "MatMul") || pai_node_is(n, "Gemm") || pai_node_is(n, "Conv") ||
		     pai_node_is(n, "ConvTranspose"));
}

/* "weights", "biases", "norm", "taus", ... or NULL: the part an input plays for its reader. */
static const char *family_of(const pai_node *n, int slot)
{
	const char *given = pai_prop_get(&n->props, "pai.family");
	if (given)
		return given;
	for (size_t i = 0; i < sizeof families / sizeof *families; i++)
		if (families[i].slot == slot && pai_node_is(n, families[i].op_type))
			return families[i].family;
	if (pai_node_is(n, "Add") && slot < 2) { /* of a layer without a bias input */
		const pai_value *other = pai_node_in(n, 1 - slot);
		return other && is_layer(other->producer) ? "biases" : NULL;
	}
	return NULL;
}

static bool glob_or_any(const char *pattern, const char *s)
{
	return !pattern || pai_glob(pattern, s);
}

bool pai_rule_matches(const pai_rule *r, const pai_node *n, int slot, const pai_value *v,
		      const pai_tensor *t)
{
	if (r->family) {
		const char *family = family_of(n, slot);
		if (!family || strcmp(family, r->family) != 0)
			return false;
	}
	return !r->activation && glob_or_any(r->op_type, n->op_type) &&
	       glob_or_any(r->domain, n->domain) && glob_or_any(r->node, pai_node_label(n)) &&
	       glob_or_any(r->initializer, v->name) &&
	       (r->input_slot < 0 || r->input_slot == slot) &&
	       (r->rank < 0 || r->rank == t->rank) && pai_tensor_nelem(t) >= r->min_numel;
}

bool pai_rule_matches_output(const pai_rule *r, const pai_node *n, int slot, const pai_value *v)
{
	return r->activation && r->output == slot && glob_or_any(r->op_type, n->op_type) &&
	       glob_or_any(r->domain, n->domain) && glob_or_any(r->node, pai_node_label(n)) &&
	       glob_or_any(r->initializer, v->name) && (r->rank < 0 || r->rank == v->type.rank);
}

/* ---- one setting ---- */

static pai_status unknown(reader *rd, const char *label, const char *what, const char *name,
			  const char *near)
{
	return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
			"rule %s: no %s is named \"%s\"%s", label, what,
			pai_escape(rd->arena, name), pai_did_you_mean(rd->ctx, near));
}

static pai_status bad_value(reader *rd, const char *label, const char *key, const char *value)
{
	return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
			"rule %s: \"%s\" cannot be %s", label, key, pai_escape(rd->arena, value));
}

static bool read_int(const char *s, int64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoll(s, &end, 10);
	if (end != s && !*end)
		return errno == 0;
	*out = strcmp(s, "true") == 0;
	return *out || strcmp(s, "false") == 0;
}

/* "-1,1", "-1 1" or "[-1, 1]". */
static bool read_floats(pai_arena *a, const char *s, pai_rule_attr *out)
{
	PAI_VEC(float) list = {0};
	for (;;) {
		s += strspn(s, " ,[]\t\n");
		if (!*s)
			break;
		char *end;
		float f = strtof(s, &end);
		if (end == s)
			return false;
		PAI_PUSH(a, list, f);
		s = end;
	}
	out->floats = list.at;
	out->n = list.n;
	return true;
}

static pai_status set_attribute(reader *rd, pai_rule *r, const char *key, const char *value)
{
	const pai_op *op = pai_op_latest(PAI_DOMAIN_TRANSFORM, r->transform->op_type);
	pai_rule_attr attr = {.row = pai_op_attr_find(op, key)};
	char *end = NULL;
	if (!attr.row)
		return unknown(rd, r->label, "attribute", key,
			       pai_table_nearest(PAI_TABLE(op->attrs), key));
	bool ok = true;
	switch (attr.row->type) {
	case PAI_ATTR_INT:
		ok = read_int(value, &attr.i);
		break;
	case PAI_ATTR_FLOAT:
		attr.f = strtof(value, &end);
		ok = end != value && !*end;
		break;
	case PAI_ATTR_FLOATS:
		ok = read_floats(rd->arena, value, &attr);
		break;
	default:
		attr.s = value;
	}
	if (!ok)
		return bad_value(rd, r->label, key, value);
	pai_rule_attr *attrs = PAI_NEWS(rd->arena, pai_rule_attr, r->n_attrs + 1);
	pai_copy(attrs, r->attrs, sizeof *attrs * (size_t)r->n_attrs);
	attrs[r->n_attrs++] = attr;
	r->attrs = attrs;
	return PAI_OK;
}

/* True when the key is one of what must match; *ok: its value fits. */
static bool set_match(pai_rule *r, const char *key, const char *value, bool *ok)
{
	const struct {
		const char *key;
		const char **text;
		int64_t *number;
	} rows[] = {{"family", &r->family, NULL},
		    {"op_type", &r->op_type, NULL},
		    {"op", &r->op_type, NULL},
		    {"domain", &r->domain, NULL},
		    {"node", &r->node, NULL},
		    {"initializer", &r->initializer, NULL},
		    {"input_slot", NULL, &r->input_slot},
		    {"rank", NULL, &r->rank},
		    {"min_numel", NULL, &r->min_numel},
		    {"output", NULL, &r->output}};
	*ok = true;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (strcmp(key, rows[i].key) != 0)
			continue;
		if (rows[i].text)
			*rows[i].text = value;
		else
			*ok = read_int(value, rows[i].number);
		return true;
	}
	return false;
}

static pai_status check_family(reader *rd, pai_rule *r)
{
	r->activation |= r->family && strcmp(r->family, "activations") == 0;
	if (r->activation || !r->family || strcmp(r->family, "*") == 0) {
		r->family = NULL;
		return PAI_OK;
	}
	if (strcmp(r->family, "bias") == 0)
		r->family = "biases";
	if (pai_table_find(PAI_TABLE(family_names), r->family))
		return PAI_OK;
	return unknown(rd, r->label, "family", r->family,
		       pai_table_nearest(PAI_TABLE(family_names), r->family));
}

static pai_status set_target(reader *rd, pai_rule *r, const char *value)
{
	r->activation = strcmp(value, "activation") == 0;
	if (r->activation || strcmp(value, "param") == 0 || strcmp(value, "parameter") == 0)
		return PAI_OK;
	return pai_fail(
		rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
		"rule %s: target \"%s\": parameters and activations can be transformed so far",
		r->label, pai_escape(rd->arena, value));
}

static pai_status begin_rule(reader *rd, const char *family, const char *fn, pai_rule *out)
{
	*out = (pai_rule){.family = family, .input_slot = -1, .rank = -1};
	out->label = pai_arena_printf(rd->arena, "%d %s%s%s", rd->rules.n + 1, family ? family : "",
				      family ? ":" : "", fn);
	out->transform = pai_transform_find(fn);
	if (!out->transform)
		return unknown(rd, out->label, "transform", fn,
			       pai_table_nearest(pai_transform_table, fn));
	return PAI_OK;
}

static pai_status set(reader *rd, pai_rule *r, const char *key, const char *value)
{
	bool ok;
	if (strcmp(key, "compose") == 0) {
		r->append = strcmp(value, "append") == 0;
		return r->append || strcmp(value, "replace") == 0
			       ? PAI_OK
			       : bad_value(rd, r->label, key, value);
	}
	if (strcmp(key, "target") == 0)
		return set_target(rd, r, value);
	if (set_match(r, key, value, &ok))
		return ok ? PAI_OK : bad_value(rd, r->label, key, value);
	return set_attribute(rd, r, key, value);
}

static pai_status end_rule(reader *rd, pai_rule *r)
{
	PAI_TRY(check_family(rd, r));
	PAI_PUSH(rd->arena, rd->rules, *r);
	return PAI_OK;
}

/* ---- inline ---- */

static pai_status read_inline(reader *rd, const char *text)
{
	pai_item *items;
	int n;
	PAI_TRY(pai_items_parse(rd->ctx, rd->arena, text, &items, &n));
	for (int i = 0; i < n; i++) {
		const char *colon = strchr(items[i].name, ':');
		const char *fn = colon ? colon + 1 : items[i].name, *family = "weights";
		pai_rule r;
		if (colon)
			family = pai_arena_strndup(rd->arena, items[i].name,
						   (size_t)(colon - items[i].name));
		PAI_TRY(begin_rule(rd, family, fn, &r));
		for (int k = 0; k < items[i].n; k++)
			PAI_TRY(set(rd, &r, items[i].at[k].key, items[i].at[k].value));
		PAI_TRY(end_rule(rd, &r));
	}
	return PAI_OK;
}

/* ---- JSON ---- */

static const char *json_text(reader *rd, const cJSON *v)
{
	if (cJSON_IsString(v))
		return pai_arena_strdup(rd->arena, v->valuestring);
	char *printed = cJSON_PrintUnformatted(v);
	const char *text = pai_arena_strdup(rd->arena, printed ? printed : "");
	cJSON_free(printed);
	return text;
}

enum { MOST_KEYS = 64 };

/* Nothing, or an object of a few keys that differ. */
static pai_status check_object(reader *rd, const cJSON *json, const char *what)
{
	const cJSON *item, *other;
	if (json && (!cJSON_IsObject(json) || cJSON_GetArraySize(json) > MOST_KEYS))
		return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
				"rule %d: %s is no object of a few keys", rd->rules.n + 1, what);
	cJSON_ArrayForEach(item, json)
	{
		for (other = json->child; other != item; other = other->next)
			if (strcmp(other->string, item->string) == 0)
				return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
						"rule %d: %s has \"%s\" twice", rd->rules.n + 1,
						what, pai_escape(rd->arena, item->string));
	}
	return PAI_OK;
}

static pai_status json_rule(reader *rd, const cJSON *json)
{
	PAI_TRY(check_object(rd, json, "it"));
	PAI_TRY(check_object(rd, cJSON_GetObjectItemCaseSensitive(json, "match"), "\"match\""));
	PAI_TRY(check_object(rd, cJSON_GetObjectItemCaseSensitive(json, "transform"),
			     "\"transform\""));
	const cJSON *transform = cJSON_GetObjectItemCaseSensitive(json, "transform"), *item;
	const cJSON *fn = cJSON_GetObjectItemCaseSensitive(transform, "fn");
	if (!cJSON_IsString(fn))
		return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
				"rule %d: \"transform\" needs a \"fn\"", rd->rules.n + 1);
	pai_rule r;
	PAI_TRY(begin_rule(rd, NULL, fn->valuestring, &r));
	cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "match"))
	{
		bool ok;
		const char *value = json_text(rd, item);
		if (!set_match(&r, item->string, value, &ok))
			return unknown(rd, r.label, "match", item->string, NULL);
		if (!ok)
			return bad_value(rd, r.label, item->string, value);
	}
	cJSON_ArrayForEach(item, transform)
	{
		if (item != fn)
			PAI_TRY(set_attribute(rd, &r, item->string, json_text(rd, item)));
	}
	cJSON_ArrayForEach(item, json)
	{
		if (strcmp(item->string, "match") == 0 || strcmp(item->string, "transform") == 0)
			continue;
		if (strcmp(item->string, "compose") != 0 && strcmp(item->string, "target") != 0 &&
		    strcmp(item->string, "output") != 0)
			return unknown(rd, r.label, "key", item->string, NULL);
		PAI_TRY(set(rd, &r, item->string, json_text(rd, item)));
	}
	return end_rule(rd, &r);
}

static pai_status json_rules(reader *rd, const cJSON *json)
{
	const cJSON *list =
		cJSON_IsArray(json) ? json : cJSON_GetObjectItemCaseSensitive(json, "rules");
	const cJSON *item;
	if (!cJSON_IsArray(list))
		return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(rd->source),
				"expected a list of rules, or an object with \"rules\"");
	cJSON_ArrayForEach(item, list) PAI_TRY(json_rule(rd, item));
	return PAI_OK;
}

static bool too_deep(const char *s, size_t n, uint64_t limit)
{
	uint64_t depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < n; i++) {
		if (in_string && s[i] == '\\')
			i++;
		else if (s[i] == '"')
			in_string = !in_string;
		else if (!in_string && (s[i] == '[' || s[i] == '{') && ++depth > limit)
			return true;
		else if (!in_string && (s[i] == ']' || s[i] == '}') && depth)
			depth--;
	}
	return false;
}

static pai_status read_file(reader *rd, const char *path)
{
	pai_file file;
	rd->source = path;
	PAI_TRY(pai_file_open(rd->ctx, rd->arena, path, &file));
	if (file.size > rd->ctx->limits.json_bytes ||
	    too_deep((const char *)file.data, file.size, rd->ctx->limits.json_depth))
		return pai_fail(rd->ctx, PAI_E_limit, pai_at_file(path),
				"is larger or deeper than rules may be");
	const char *text = (const char *)file.data, *end = text;
	cJSON *json = cJSON_ParseWithLengthOpts(text, file.size, &end, false);
	while (json && end < text + file.size && strchr(" \t\r\n", *end) && *end)
		end++;
	if (!json || end < text + file.size) {
		cJSON_Delete(json);
		return pai_fail(rd->ctx, PAI_E_bad_rule, pai_at_file(path), "is not valid JSON");
	}
	pai_status status = json_rules(rd, json);
	cJSON_Delete(json);
	return status;
}

pai_status pai_rules_read(pai_ctx *ctx, pai_arena *a, const char *text, pai_rule **out, int *n)
{
	reader rd = {.ctx = ctx, .arena = a, .source = "rules"};
	size_t length = strlen(text);
	bool json = length > 5 && strcmp(text + length - 5, ".json") == 0;
	PAI_TRY(json ? read_file(&rd, text) : read_inline(&rd, text));
	if (!rd.rules.n)
		return pai_fail(ctx, PAI_E_bad_rule, pai_at_file(rd.source), "there are no rules");
	*out = rd.rules.at;
	*n = rd.rules.n;
	return PAI_OK;
}
