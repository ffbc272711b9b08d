//! What is tried: a folder, the sandbox in its manifest that is used, and who uses it.

/// A program that is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// What the test is called.
    pub(crate) title: &'static str,
    /// Folder of its manifest, server and client.
    pub(crate) folder: &'static str,
    /// Namespace and name of the sandbox that the client uses.
    pub(crate) sandbox: &'static str,
    /// A script of the folder (`.py`, `.mjs`), else a program that is built of `go/`.
    pub(crate) client: &'static str,
    /// Flags of `reveille standalone` beyond its defaults.
    pub(crate) flags: &'static [&'static str],
}

const fn program(
    title: &'static str,
    folder: &'static str,
    sandbox: &'static str,
    client: &'static str,
) -> Program {
    Program {
        title,
        folder,
        sandbox,
        client,
        flags: &[],
    }
}

/// Those that need Python, Node and Go packages, and no more.
#[allow(dead_code, reason = "of the other test")]
pub(crate) const WITHOUT_BROWSER: &[Program] = &[
    Program {
        flags: &["--trusted-proxies", "127.0.0.0/8"],
        ..program("fastapi", "fastapi", "agents/fastapi", "client.py")
    },
    program("mcp", "mcp", "agents/mcp", "client.py"),
    program("grpc_in_python", "grpc", "agents/grpc-go", "client.py"),
    program("grpc_in_go", "grpc", "agents/grpc-python", "grpcclient"),
    program(
        "websocket_of_python",
        "websockets",
        "agents/websockets",
        "client.py",
    ),
    program(
        "websocket_of_node",
        "websockets",
        "agents/websockets",
        "client.mjs",
    ),
    program(
        "websocket_of_gorilla",
        "websockets",
        "agents/websockets",
        "gorilla",
    ),
    program(
        "websocket_of_coder",
        "websockets",
        "agents/websockets",
        "coder",
    ),
    program("terminal", "terminal", "agents/terminal", "client.py"),
    Program {
        // h2spec can name no host but the address it connects to: 127.0.0.1 is then the sandbox 127 of
        // the namespace 0.
        flags: &["--domain", "0.1"],
        ..program("h2spec", "h2spec", "0/127", "client.py")
    },
];

/// Those that need Chromium too.
#[allow(dead_code, reason = "of the other test")]
pub(crate) const IN_A_BROWSER: &[Program] = &[
    program(
        "jupyterlab",
        "jupyterlab",
        "agents/jupyterlab",
        "client.mjs",
    ),
    program("streamlit", "streamlit", "agents/streamlit", "client.mjs"),
    program("chromium_over_cdp", "cdp", "agents/browser", "client.mjs"),
];
