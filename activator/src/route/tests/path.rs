//! The sandbox named by the path.

use super::*;

fn ask(path: &str, headers: &[(&str, &str)]) -> Result<(String, u16, String), String> {
    let router = Router::new(&Config {
        path_routing_prefix: "/sandboxes".to_owned(),
        ..Config::default()
    });
    let mut request = Request::get(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "proxy");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let detail = |error: Error| error.detail().into_owned();
    let Route::Sandbox(target) = router.route(&parts).map_err(detail)? else {
        return Err("no sandbox".to_owned());
    };
    target.by.leave(&mut parts.uri).map_err(detail)?;
    let left = parts.uri.path_and_query().map_or("", |path| path.as_str());
    Ok((target.key.to_string(), target.port, left.to_owned()))
}

fn alice(rest: &str) -> Result<(String, u16, String), String> {
    Ok(("agents/alice".to_owned(), 9000, rest.to_owned()))
}

#[test]
fn a_path_names_sandbox_and_port_and_the_rest_is_left_as_it_came() {
    for (path, rest) in [
        ("/sandboxes/agents/alice/9000", "/"),
        ("/sandboxes/agents/alice/9000/", "/"),
        ("/sandboxes/agents/alice/9000?x=/y", "/?x=/y"),
        ("/sandboxes/agents/alice/9000/?", "/?"),
        (
            "/sandboxes/agents/alice/9000//a%2Fb/../%zz?q=%20",
            "//a%2Fb/../%zz?q=%20",
        ),
        ("/sandboxes/agents/%61lice/9000/x", "/x"),
    ] {
        assert_eq!(ask(path, &[]), alice(rest), "{path}");
    }
    let uri = "http://proxy/sandboxes/agents/alice/9000/x";
    assert_eq!(ask(uri, &[]), alice("/x"));
}

#[test]
fn a_path_below_the_prefix_is_never_somebody_elses() {
    let bob = [("x-sandbox-id", "bob")];
    assert_eq!(ask("/sandboxes/agents/alice/9000/x", &bob), alice("/x"));
    let form = "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/...";
    for (path, text) in [
        ("/sandboxes/", form),
        ("/sandboxes/agents", form),
        ("/sandboxes/agents/alice", form),
        ("/sandboxes/agents/alice/", form),
        ("/sandboxes//alice/9000/", form),
        (
            "/sandboxes/%zz/alice/9000/",
            "Invalid percent-encoding in path.",
        ),
        (
            "/sandboxes/agents/alice/%9",
            "Invalid percent-encoding in path.",
        ),
        (
            "/sandboxes/agents/alice/%+9/",
            "Invalid percent-encoding in path.",
        ),
        ("/sandboxes/Agents/Alice/0/", "Invalid namespace format."),
        ("/sandboxes/%ff/alice/1/", "Invalid namespace format."),
        ("/sandboxes/agents/Alice/0/", "Invalid sandbox ID format."),
        ("/sandboxes/agents/a%2Fb/1/", "Invalid sandbox ID format."),
        ("/sandboxes/agents/../1/", "Invalid sandbox ID format."),
        ("/sandboxes/agents/alice/0/", "Invalid port format."),
        ("/sandboxes/agents/alice/65536/", "Invalid port format."),
        ("/sandboxes/agents/alice/x/", "Invalid port format."),
    ] {
        assert_eq!(ask(path, &bob), Err(text.to_owned()), "{path}");
    }
}

#[test]
fn what_is_not_below_the_prefix_is_routed_as_ever() {
    let bob = [("x-sandbox-id", "bob")];
    for path in [
        "/sandboxes",
        "/sandboxesque/a/b/1/",
        "/a/sandboxes/a/b/1",
        "/%73andboxes/a/b/1/",
    ] {
        let routed = ask(path, &bob).unwrap();
        assert_eq!(
            (routed.0.as_str(), routed.2.as_str()),
            ("default/bob", path)
        );
    }
    assert_eq!(ask("/x", &[]), Err(ID_REQUIRED.to_owned()));
    // A sandbox has all paths under a host of its own.
    let own = [("host", "bob.agents.sandbox.localhost")];
    let path = "/sandboxes/agents/alice/9000/x";
    let routed = ask(path, &own).unwrap();
    assert_eq!((routed.0.as_str(), routed.2.as_str()), ("agents/bob", path));
    // Without a prefix no path names anything.
    assert_eq!(
        target("/sandboxes/agents/alice/9000/", &[("host", "p")]),
        Err(ID_REQUIRED.into())
    );
}
