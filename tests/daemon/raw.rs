//! A Gearman client of a few lines that knows nothing of this library, so that it counts what it is
//! sent: other clients hide an answer that comes twice.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

const SUBMIT_JOB: u32 = 7;
const JOB_CREATED: u32 = 8;
const WORK_COMPLETE: u32 = 13;
const WORK_FAIL: u32 = 14;
const ERROR: u32 = 19;
/// Jobs that wait for an answer at any time.
const WINDOW: usize = 64;

/// Everything that came for one job.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) completes: Vec<Vec<u8>>,
    pub(crate) fails: usize,
}

/// Submits every payload under itself as its unique, and gathers what comes; `answered` is told of
/// each end of a job.
pub(crate) fn submit_all(
    port: u16,
    function: &str,
    payloads: &[String],
    mut answered: impl FnMut(),
) -> HashMap<String, Answers> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(super::rig::DEADLINE)).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut jobs: HashMap<Vec<u8>, String> = HashMap::new();
    let mut answers: HashMap<String, Answers> = HashMap::new();
    let (mut sent, mut created, mut ended) = (0, 0, 0);
    while ended < payloads.len() {
        while sent < payloads.len() && sent - ended < WINDOW {
            let payload = &payloads[sent];
            send(&mut socket, &[function.as_bytes(), payload.as_bytes(), payload.as_bytes()]);
            sent += 1;
        }
        let (kind, body) = receive(&mut reader);
        let mut parts = body.splitn(2, |byte| *byte == 0);
        let handle = parts.next().unwrap_or_default().to_vec();
        let rest = parts.next().unwrap_or_default().to_vec();
        match kind {
            JOB_CREATED => {
                jobs.insert(handle, payloads[created].clone());
                created += 1;
            }
            WORK_COMPLETE | WORK_FAIL => {
                let answer = answers.entry(jobs[&handle].clone()).or_default();
                if kind == WORK_FAIL {
                    answer.fails += 1;
                } else {
                    answer.completes.push(rest);
                }
                ended += 1;
                answered();
            }
            ERROR => panic!("refused: {}", String::from_utf8_lossy(&body)),
            _ => {}
        }
    }
    gather_late(&mut socket, &mut reader, &jobs, &mut answers);
    answers
}

/// An echo goes around once more, so that an answer that was sent twice has been read.
fn gather_late(
    socket: &mut TcpStream,
    reader: &mut impl Read,
    jobs: &HashMap<Vec<u8>, String>,
    answers: &mut HashMap<String, Answers>,
) {
    const ECHO_REQ: u32 = 16;
    const ECHO_RES: u32 = 17;
    socket.write_all(&packet(ECHO_REQ, b"end")).unwrap();
    loop {
        let (kind, body) = receive(reader);
        if kind == ECHO_RES {
            return;
        }
        let handle = body.split(|byte| *byte == 0).next().unwrap_or_default();
        answers.entry(jobs[handle].clone()).or_default().completes.push(body);
    }
}

fn send(socket: &mut TcpStream, arguments: &[&[u8]]) {
    socket.write_all(&packet(SUBMIT_JOB, &arguments.join(&0))).unwrap();
}

/// Sends one packet.
pub(crate) fn write(socket: &mut impl Write, kind: u32, body: &[u8]) {
    socket.write_all(&packet(kind, body)).unwrap();
}

fn packet(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap();
    [b"\0REQ", &kind.to_be_bytes()[..], &len.to_be_bytes()[..], body].concat()
}

pub(crate) fn receive(reader: &mut impl Read) -> (u32, Vec<u8>) {
    let mut head = [0; 12];
    reader.read_exact(&mut head).unwrap();
    assert_eq!(head[..4], *b"\0RES");
    let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap());
    let mut body = vec![0; number(8) as usize];
    reader.read_exact(&mut body).unwrap();
    (number(4), body)
}
