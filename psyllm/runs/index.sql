-- What lists and searches read. All of it comes from the journals; delete the file, and the next reader builds it again.
CREATE TABLE shards (
    number INTEGER PRIMARY KEY,
    started TEXT NOT NULL,             -- of the journal's meta: another run in this folder is another index
    steps INTEGER NOT NULL,            -- the last call whose place is known
    words INTEGER NOT NULL,            -- the last call whose words are indexed
    posts INTEGER NOT NULL             -- the text of the last post whose words are indexed
);
CREATE TABLE dialogues (
    id TEXT PRIMARY KEY, post_id TEXT NOT NULL, place INTEGER NOT NULL, repeat INTEGER NOT NULL,
    status TEXT NOT NULL, modality TEXT NOT NULL, severity TEXT NOT NULL, mode TEXT NOT NULL, rounds INTEGER NOT NULL,
    rehearsal INTEGER NOT NULL, forked_from TEXT, ended REAL NOT NULL,
    calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost_usd REAL,
    seconds REAL NOT NULL, retried INTEGER NOT NULL, misfits INTEGER NOT NULL,
    codes TEXT NOT NULL, blamed TEXT NOT NULL -- of its reasons, each once, with commas between
) WITHOUT ROWID;
CREATE INDEX dialogues_in_order ON dialogues (place, repeat, forked_from, ended, id);
CREATE INDEX dialogues_of_post ON dialogues (post_id);
CREATE TABLE reasons (
    dialogue_id TEXT NOT NULL, position INTEGER NOT NULL,
    code TEXT NOT NULL, role TEXT NOT NULL,
    prompts TEXT NOT NULL,             -- those that the blamed role was given in this dialogue, as in `prompts`
    PRIMARY KEY (dialogue_id, position)
) WITHOUT ROWID;
CREATE TABLE models (                  -- that any role of a dialogue was played by
    dialogue_id TEXT NOT NULL, model TEXT NOT NULL, PRIMARY KEY (dialogue_id, model)
) WITHOUT ROWID;
CREATE TABLE prompts (                 -- that a role of a dialogue was given: JSON, sorted
    dialogue_id TEXT NOT NULL, role TEXT NOT NULL, prompts TEXT NOT NULL, PRIMARY KEY (dialogue_id, role)
) WITHOUT ROWID;
CREATE TABLE places (                  -- the dialogues and steps that a call is part of; of open dialogues too
    shard INTEGER NOT NULL, call_id INTEGER NOT NULL, dialogue_id TEXT NOT NULL, position INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (shard, call_id, dialogue_id)
) WITHOUT ROWID;
CREATE TABLE texts (                   -- what the rows of `words` are: a call's answer, or a post
    id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, call_id INTEGER, post_id TEXT NOT NULL, role TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (role, said, content = '', tokenize = 'unicode61 remove_diacritics 2');
