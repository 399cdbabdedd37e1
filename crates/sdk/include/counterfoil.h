/* counterfoil.h - may this program run on this device? And: reading from a title in the library. Offline.
 *
 * What is returned      int32_t: COUNTERFOIL_OK, or one of the three other numbers below (those of the command line's exit statuses).
 *                       Programs match on counterfoil_error_code(), whose codes never change their meaning: docs/refusals.md.
 * Out-parameters        come last, and `error` last of all. Each may be NULL where nobody wants it, unless it says otherwise. They are set to
 *                       NULL first, whatever comes of the call.
 * Memory                What came out of a function with `**` is the caller's to free, once, with the function that its type names. Text that
 *                       is returned (`const char *`) belongs to the handle that it was asked of, and is there until that is freed. Text that
 *                       is given in is UTF-8, ends at a NUL, and is not kept. Freeing NULL does nothing; asking NULL answers NULL or 0.
 * Threads               Any number of threads may use the library and the same handle at once. While a handle is freed, nobody may use it.
 *                       The environment is read (see counterfoil_check), so no thread may change it meanwhile, as everywhere in C.
 * What it does not do   It asks nobody over a network, starts no thread, and keeps nothing between two calls. It writes no file, but
 *                       for one: beside the license of a title that is opened, how long it was (docs/licenses.md, Time). No C++ exception or Rust panic leaves it. Where there is no memory left, the process ends.
 */
#ifndef COUNTERFOIL_H
#define COUNTERFOIL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where counterfoil_abi_version() answers another number, this header is not that library's. Additions do not change it. */
#define COUNTERFOIL_ABI_VERSION 1

#define COUNTERFOIL_OK 0      /* yes */
#define COUNTERFOIL_REFUSED 1 /* no: the code says why */
#define COUNTERFOIL_USAGE 2   /* the caller's mistake: code `usage` */
#define COUNTERFOIL_FAILED 3  /* it could not be found out: a file that cannot be read, for one. No "yes" either. */

typedef struct counterfoil_license counterfoil_license;
typedef struct counterfoil_error counterfoil_error;
typedef struct counterfoil_opened counterfoil_opened;
typedef struct counterfoil_file counterfoil_file;
typedef struct counterfoil_entries counterfoil_entries;

uint32_t counterfoil_abi_version(void);

/* May the title be started on this device now? As `counterfoil run` judges it when there is no network.
 *
 * title    which, such as "sky-raider".
 * keys     the authority's keys, a JWK set, as it serves it at /.well-known/jwks.json; part of the program, so that nobody brings their own. The
 *          license must be signed by one of them. NULL: by the authority that the home knows, whichever that is.
 * library  directory of the library. NULL: the one that `counterfoil run` started this program from (COUNTERFOIL_LIBRARY), or the one used last.
 * home     directory of the device's state. NULL: COUNTERFOIL_HOME, or the user's own, as the command line finds it.
 * license  NULL after COUNTERFOIL_OK where the title was copied from a medium, which has no license: then its keys were opened in place of it.
 *          Where `keys` are given, such a copy is refused: nothing in it is signed by them.
 *
 * Refused with `run_not_permitted` (another device), `license_invalid` (none, forged, or another's), `license_ended` (moved, given back or taken
 * back), `license_expired`, `play_not_permitted` (its keys are bound to other hardware). Failed with `no_home`, `no_library`, `no_title`,
 * `incomplete`, `damaged` and other codes of the command line.
 */
int32_t counterfoil_check(const char *title, const char *keys, const char *library, const char *home, counterfoil_license **license,
                          counterfoil_error **error);

/* Is this license good, for this title, on this device, now? For whoever has the license itself: from the file that COUNTERFOIL_LICENSE names, or
 * sent to a server by the program that runs. Reads no home and no library, so it does not know what only those know: that the license was moved
 * since, given back or taken back, that this clock was turned back, or a device ID that was typed.
 *
 * token    the license, a compact JWS, or the text of the library's license.json.
 * keys     as above; not NULL.
 * device   who presents it, a device ID. NULL: this computer, as its hardware says.
 * at       when, in seconds since 1970. 0: now. The time that the license was made counts where that is later.
 *
 * Refused with `license_invalid`, `run_not_permitted`, `license_expired`.
 */
int32_t counterfoil_verify(const char *token, const char *keys, const char *title, const char *device, int64_t at,
                           counterfoil_license **license, counterfoil_error **error);

/* The license itself, for a server of yours to verify. */
const char *counterfoil_license_token(const counterfoil_license *license);
/* What it says, as JSON: the claims of docs/licenses.md. */
const char *counterfoil_license_claims(const counterfoil_license *license);
/* A feature flag; NULL where it has none of that name. */
const char *counterfoil_license_attribute(const counterfoil_license *license, const char *name);
/* The end of its lease, in seconds since 1970; 0: good for good. */
int64_t counterfoil_license_good_until(const counterfoil_license *license);
/* Not 0 where its lease is over: the title starts until then, and people should be told to connect to the network. */
int64_t counterfoil_license_grace_until(const counterfoil_license *license);
/* 1 where it is for trying, and nobody paid. */
int32_t counterfoil_license_trial(const counterfoil_license *license);
void counterfoil_license_free(counterfoil_license *license);

/* Opens a title to read from it, by the same arguments and refusals as counterfoil_check. On the drive it stays sealed; what is read is opened in
 * memory. `opened` must not be NULL. A card whose keys are in a token or TPM asks for a PIN, which nobody can be asked for here: such titles are
 * read through the view that `counterfoil run` starts the program in. */
int32_t counterfoil_open(const char *title, const char *keys, const char *library, const char *home, counterfoil_license **license,
                         counterfoil_opened **opened, counterfoil_error **error);
/* Files that were opened stay open, and the title is in use until the last of them is closed. */
void counterfoil_close(counterfoil_opened *opened);

/* A file by its path in the title, with `/` between names; links are followed. `file` must not be NULL. Failed with `no_such_file`, `wrong_kind`. */
int32_t counterfoil_file_open(const counterfoil_opened *opened, const char *path, counterfoil_file **file, counterfoil_error **error);
/* Bytes. */
uint64_t counterfoil_file_size(const counterfoil_file *file);
/* Fills `buffer`, of `length` bytes, from `offset`. `count`, not NULL, is how many were read: fewer only at the end of the file, 0 behind it.
 * Every byte is authenticated: `damaged` where it is not what the publisher released. */
int32_t counterfoil_file_read(const counterfoil_file *file, uint64_t offset, uint8_t *buffer, size_t length, size_t *count,
                              counterfoil_error **error);
void counterfoil_file_close(counterfoil_file *file);

/* What is in a directory of the title, by name; "" or NULL is its root. `entries` must not be NULL. */
int32_t counterfoil_list(const counterfoil_opened *opened, const char *directory, counterfoil_entries **entries, counterfoil_error **error);
size_t counterfoil_entries_count(const counterfoil_entries *entries);
/* NULL past the last. */
const char *counterfoil_entries_name(const counterfoil_entries *entries, size_t index);
/* 1 a file, 2 a directory, 3 a link to one of the two; 0 past the last. */
int32_t counterfoil_entries_kind(const counterfoil_entries *entries, size_t index);
/* Bytes, of a file. */
uint64_t counterfoil_entries_size(const counterfoil_entries *entries, size_t index);
void counterfoil_entries_free(counterfoil_entries *entries);

/* Stable, for programs: `license_ended`. */
const char *counterfoil_error_code(const counterfoil_error *error);
/* The fact, for people. */
const char *counterfoil_error_message(const counterfoil_error *error);
/* What they can do; may be empty. */
const char *counterfoil_error_hint(const counterfoil_error *error);
void counterfoil_error_free(counterfoil_error *error);

#ifdef __cplusplus
}
#endif

#endif
