/* golden.h -- reads the golden vectors: a JSON index of cases, arrays named "<case>/<array>" in one
 * npz, and the list of cases that are expected to fail. */
#ifndef PAI_TEST_GOLDEN_H
#define PAI_TEST_GOLDEN_H

#include "passes/passes.h"
#include <cjson/cJSON.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct arrays {
	pai_tensor **at;
	int n;
} arrays;

static inline pai_file open_golden(pai_ctx *c, pai_arena *a, const char *path)
{
	pai_file f;
	assert_int_equal(pai_file_open(c, a, path, &f), PAI_OK);
	return f;
}

static inline cJSON *read_index(pai_ctx *c, pai_arena *a, const char *path)
{
	pai_file f = open_golden(c, a, path);
	cJSON *json = cJSON_ParseWithLength((const char *)f.data, f.size);
	assert_non_null(json);
	return json;
}

static inline arrays read_arrays(pai_ctx *c, pai_arena *a, const char *path)
{
	arrays z;
	pai_file f = open_golden(c, a, path);
	assert_int_equal(pai_npz_parse(c, a, f.path, f.data, f.size, &z.at, &z.n), PAI_OK);
	return z;
}

static inline pai_tensor *find(arrays z, const char *id, const char *name) /* NULL: none */
{
	char key[256];
	snprintf(key, sizeof key, "%s/%s", id, name);
	for (int i = 0; i < z.n; i++)
		if (strcmp(z.at[i]->name, key) == 0)
			return z.at[i];
	return NULL;
}

/* Text of expected_failures.txt: a name or glob a line, then the code of an error and the reason.
 */
static inline const char *read_expected(pai_ctx *c, pai_arena *a)
{
	pai_file f = open_golden(c, a, PAI_TEST_DATA "/../expected_failures.txt");
	return pai_arena_strndup(a, (const char *)f.data, f.size);
}

/* Code of the error that a case must fail with, as its line says; 0: no line names the case. What
 * comes before that error in a case must hold: wrong numbers have no code, and are never excused.
 */
static inline int expected_error(const char *list, const char *name)
{
	char line[256];
	for (const char *at = list; *at;) {
		size_t n = strcspn(at, "\n"), word = strcspn(at, " \t\n");
		if (word > 0 && word < sizeof line && *at != '#') {
			memcpy(line, at, word);
			line[word] = 0;
			if (pai_glob(line, name)) {
				int code;
				if (sscanf(at + word, " E%4d ", &code) != 1)
					fail_msg("the line of %s has no code", name);
				return code;
			}
		}
		at += n + (at[n] == '\n');
	}
	return 0;
}

/* Code of the first error since the diagnostics were cleared; 0: none. */
static inline int first_error(const pai_ctx *c)
{
	for (int i = 0; i < pai_diag_count(c); i++)
		if (pai_diag_get(c, i)->severity == PAI_ERROR)
			return (int)pai_diag_get(c, i)->code;
	return 0;
}

/* What is wrong with a case that passed or did not; NULL: nothing. */
static inline const char *judge(bool passed, int expected, int error)
{
	if (passed)
		return expected ? "is listed in expected_failures.txt but passes" : NULL;
	if (!expected)
		return "does not agree with the golden vectors";
	return error == expected ? NULL
				 : "fails, but not with the error expected_failures.txt gives";
}

#endif
