//! How the agent answers: a few honest rules over what it was told. The same words in the same
//! order get the same answers, which is what makes a lost or doubled message visible.

use crate::memory::Memory;

/// Longest subject or value that is kept as a fact, in bytes.
const FACT_MAX: usize = 200;

/// The answer to `message`, given all turns before it.
pub(crate) fn reply(memory: &Memory, message: &str) -> String {
    if let Some((subject, value)) = fact(message) {
        return format!("I will remember that your {subject} is {value}.");
    }
    let asked = plain(message);
    if let Some(subject) = question(&asked) {
        return memory.facts.get(subject).map_or_else(
            || format!("You have not told me your {subject} yet."),
            |value| format!("Your {subject} is {value}."),
        );
    }
    match asked.as_str() {
        "who am i" => memory.facts.get("name").map_or_else(
            || "You have not told me your name yet.".to_owned(),
            |name| format!("You are {name}."),
        ),
        "what do you remember" | "what do you know" => known(memory),
        _ if asked.starts_with("how many") => {
            format!(
                "We have exchanged {} messages before this one, over {} wakes.",
                memory.turns, memory.wakes
            )
        }
        _ => memory.recent.back().map_or_else(
            || "I have noted it; it is the first thing you ever told me.".to_owned(),
            |last| format!("I have noted it. Before that you said: {}", last.message),
        ),
    }
}

/// `my <subject> is <value>`, as subject and value.
pub(crate) fn fact(message: &str) -> Option<(String, String)> {
    let text = message.trim().trim_end_matches(['.', '!']);
    let rest = text
        .strip_prefix("my ")
        .or_else(|| text.strip_prefix("My "))?;
    let (subject, value) = rest.split_once(" is ")?;
    let (subject, value) = (subject.trim(), value.trim());
    let fits = |part: &str| !part.is_empty() && part.len() <= FACT_MAX;
    (fits(subject) && fits(value)).then(|| (subject.to_lowercase(), value.to_owned()))
}

/// The subject of `what is my <subject>`.
fn question(asked: &str) -> Option<&str> {
    asked
        .strip_prefix("what is my ")
        .or_else(|| asked.strip_prefix("what's my "))
        .map(str::trim)
}

fn plain(message: &str) -> String {
    message
        .trim()
        .trim_end_matches(['?', '.', '!'])
        .trim()
        .to_lowercase()
}

fn known(memory: &Memory) -> String {
    if memory.facts.is_empty() {
        return "Nothing yet: tell me something, for instance `my name is Ada`.".to_owned();
    }
    let facts: Vec<String> = memory
        .facts
        .iter()
        .map(|(subject, value)| format!("your {subject} is {value}"))
        .collect();
    format!("I remember that {}.", facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Ask;

    /// Says all messages to a new agent and gives its last answer.
    fn last_answer(messages: &[&str]) -> String {
        let mut memory = Memory::default();
        for message in messages {
            let record = memory.draft(&Ask::Chat((*message).to_owned()), String::new());
            memory.apply(&record);
        }
        memory.recent.back().unwrap().reply.clone()
    }

    #[test]
    fn a_fact_is_recalled() {
        assert_eq!(
            last_answer(&["My name is Ada.", "what is my name?"]),
            "Your name is Ada."
        );
        assert_eq!(
            last_answer(&["my name is Ada", "Who am I?"]),
            "You are Ada."
        );
    }

    #[test]
    fn the_newest_fact_wins() {
        assert_eq!(
            last_answer(&["my dog is Rex", "my dog is Bob", "what's my dog"]),
            "Your dog is Bob."
        );
    }

    #[test]
    fn an_unknown_subject_is_admitted() {
        assert_eq!(
            last_answer(&["what is my name?"]),
            "You have not told me your name yet."
        );
        assert!(last_answer(&["what do you remember?"]).starts_with("Nothing yet"));
    }

    #[test]
    fn messages_are_counted() {
        assert!(last_answer(&["a", "b", "how many messages?"]).contains("2 messages"));
    }

    #[test]
    fn anything_else_is_noted_with_what_came_before() {
        assert_eq!(
            last_answer(&["tea", "milk"]),
            "I have noted it. Before that you said: tea"
        );
    }

    #[test]
    fn an_oversized_fact_is_a_plain_message() {
        assert_eq!(
            fact(&format!("my name is {}", "x".repeat(FACT_MAX + 1))),
            None
        );
        assert_eq!(fact("my is "), None);
    }
}
