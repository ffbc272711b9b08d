"""A shell in the browser: terminado, which JupyterLab's terminals are made of."""

import os

import tornado.ioloop
import tornado.web
from terminado import SingleTermManager, TermSocket

# One shell for whoever comes, which lives as long as the server.
shells = SingleTermManager(shell_command=["/bin/sh"], extra_env={"PS1": "$ "})
application = tornado.web.Application([(r"/shell", TermSocket, {"term_manager": shells})])
application.listen(int(os.environ["PORT"]), os.environ["HOST"])
tornado.ioloop.IOLoop.current().start()
