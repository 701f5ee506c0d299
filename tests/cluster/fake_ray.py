"""As much of Ray as a pool of workers uses, in this process: actors that tests can let die."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class ActorDiedError(RayError):
    pass


class _Actor:
    """Runs calls in their order, in a thread; a call of which it `dies`, and all after it, fail."""

    def __init__(self, ray, body):
        self.ray, self.body, self.dead = ray, body, False
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.run = SimpleNamespace(remote=lambda *told: self.submit("run", pickle.dumps(told)))
        self.describe = SimpleNamespace(remote=lambda *told: self.submit("describe", pickle.dumps(told)))

    def submit(self, method, told):
        return self.thread.submit(self.answer, method, told)

    def answer(self, method, told):
        arguments = pickle.loads(told)
        self.dead = self.dead or (method == "run" and self.ray.dies(arguments))
        if self.dead:
            raise ActorDiedError("the actor died")
        return pickle.loads(pickle.dumps(getattr(self.body, method)(*arguments)))


class FakeRay:
    """Stands for the module `ray`.

    Args:
        dies: takes the arguments of `Worker.run`, and says if the worker dies of them.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, dies=lambda arguments: False):
        self.dies, self.actors, self.options = dies, [], None

    def remote(self, kind):
        def options(**told):
            self.options = told

            def start(*arguments):
                actor = _Actor(self, kind(*pickle.loads(pickle.dumps(arguments))))
                self.actors.append(actor)
                return actor

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    def get(self, ref, timeout=None):
        return ref.result(timeout)

    def kill(self, actor):
        actor.dead = True
