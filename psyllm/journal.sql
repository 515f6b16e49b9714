-- One run, one worker. Texts are stored once, by content, compressed with zlib; everything else points at them.
-- `psyllm trace show RUN ID --step N` puts a call together again.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
CREATE TABLE prompts (
    sha256 TEXT PRIMARY KEY, id TEXT NOT NULL, version TEXT NOT NULL, text_id INTEGER NOT NULL REFERENCES texts
) WITHOUT ROWID;
CREATE TABLE posts (id TEXT PRIMARY KEY, position INTEGER NOT NULL, record_id INTEGER NOT NULL REFERENCES texts) WITHOUT ROWID;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,          -- sha256 of post, repeat, path, role, model, sampling, schema, messages, sample;
                                       -- of a call that got no answer, one of its own: it is never reused
    sample INTEGER NOT NULL,           -- 0; a replay takes the next number
    post_id TEXT NOT NULL, repeat INTEGER NOT NULL,
    path TEXT NOT NULL,                -- round/node/attempt/correction
    role TEXT NOT NULL,
    model_name TEXT NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    prompts TEXT NOT NULL,             -- JSON: ["cbt@1.0#0123abcd4567", ...]
    schema_name TEXT NOT NULL, schema_sha256 TEXT NOT NULL, sampling TEXT NOT NULL,
    messages TEXT NOT NULL,            -- JSON: [["system", [text ids]], ["user", [text ids]]]; parts are joined by a blank line
    reply_id INTEGER NOT NULL REFERENCES texts,
    reasoning_id INTEGER REFERENCES texts,
    parsed_id INTEGER REFERENCES texts, -- NULL: the reply did not fit its schema, `error` says why
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
    cost_usd REAL,                     -- NULL: the model has no price in psyllm.toml
    started REAL NOT NULL, seconds REAL NOT NULL, -- unix time; of the last request
    retries TEXT NOT NULL,             -- JSON: what went wrong before this reply
    error TEXT NOT NULL,
    rehearsal INTEGER NOT NULL         -- 1: said by the rehearsal backend
);
CREATE TABLE steps (
    dialogue_id TEXT NOT NULL, position INTEGER NOT NULL, call_id INTEGER NOT NULL REFERENCES calls,
    PRIMARY KEY (dialogue_id, position)
) WITHOUT ROWID;
CREATE TABLE dialogues (
    id TEXT PRIMARY KEY, post_id TEXT NOT NULL, repeat INTEGER NOT NULL,
    status TEXT NOT NULL, modality TEXT NOT NULL,
    drawn TEXT NOT NULL,               -- the modality that was its first candidate
    severity TEXT NOT NULL, mode TEXT NOT NULL, rounds INTEGER NOT NULL,
    safety_rounds INTEGER NOT NULL,    -- those of the rounds in safety_first or emergency
    rehearsal INTEGER NOT NULL, forked_from TEXT, ended REAL NOT NULL, record_id INTEGER NOT NULL REFERENCES texts
) WITHOUT ROWID;
CREATE INDEX dialogues_by_status ON dialogues (status, modality);
CREATE TABLE reasons (
    dialogue_id TEXT NOT NULL, position INTEGER NOT NULL,
    code TEXT NOT NULL, role TEXT NOT NULL, round INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (dialogue_id, position)
) WITHOUT ROWID;
